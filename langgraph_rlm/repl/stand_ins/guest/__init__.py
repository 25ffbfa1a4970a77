"""Guest: the sources of the stand-ins, each a module in what Monty has of Python.

It has no `yield`, no bases, no decorated methods, and takes no generator as an iterator: hence
lists where Python would do with less.
"""
