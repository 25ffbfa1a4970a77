"""Whether this machine can jail a process, for tests that need it."""

import pytest

from langgraph_rlm.processes import jail

OBSTACLE = jail.obstacle()
needs_a_jail = pytest.mark.skipif(bool(OBSTACLE), reason=OBSTACLE)
SANDBOXES = ["monty", "local", pytest.param("python", marks=needs_a_jail)]
"""Every sandbox by its name, as parameters of a test."""
