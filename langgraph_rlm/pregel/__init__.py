"""Pregel: whatever leans on LangGraph's, LangChain's or a saver's private parts.
`tests/test_assumptions.py` tests each.

A room at the very bottom, so that whoever needs such a part can ask for it here.
"""
