"""Limits: what a key may ask for in a day and in a minute, over all servers of one database.

`day.py` is what is counted, `days.py` where, `account.py` what one process knows of it.
"""
