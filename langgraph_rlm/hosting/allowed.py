"""Allowed: what `storage/allowed.py` has, for those who serve others. It moved below the graph."""

from langgraph_rlm.storage.allowed import Allowed

__all__ = ["Allowed"]
