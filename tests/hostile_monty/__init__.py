"""Hostile programs for Monty, as data: each in a cell of its own, with what must stop it."""

from . import border, floods, reach
from .row import Row

ROWS = [
    Row(kind, name, program, stop)
    for table in (reach.TABLE, floods.TABLE, border.TABLE)
    for kind, stops in table.items()
    for stop, programs in stops.items()
    for name, program in programs.items()
]

__all__ = ["ROWS", "Row"]
