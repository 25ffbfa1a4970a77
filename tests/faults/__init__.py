"""Faults: processes killed anywhere, and what runs depend on taken away. `campaign.py` is the long form of `test_kills.py`."""
