"""Responses: OpenAI's Responses API over the same chat models as chat completions.

A request becomes a chat (`requests.py`, `items.py`, `past.py`), the model's message becomes items
and events (`output.py`, `events.py`, `objects.py`), and what is to be found again is a record in
the database (`store.py`). `door.py` answers each path; `background.py` works without a client.
"""
