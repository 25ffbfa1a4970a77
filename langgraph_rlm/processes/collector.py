"""Collector: Python's garbage collector, tuned for a process that is all ours.

A batch of a thousand calls makes hundreds of thousands of objects that live until it ends. By
default, Python looks through the young ones every 700 (2,000 since 3.12) and often through all,
modules included, and finds nothing. Only the package's own processes are tuned: the command and the
server's. A library that did so would change the process of its user.
"""

import gc

YOUNG = 50_000
"""Objects that are made, less those that are freed, before the young ones are looked through."""
OLDER = 20
"""How many looks at one generation come before one at the next."""


def tune_collector() -> None:
    """Collect less often. Call it in a process of the package's own, when it starts."""
    gc.set_threshold(YOUNG, OLDER, OLDER)
