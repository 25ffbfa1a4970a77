"""Coverage text: how much of the contexts models have seen, in a line for people."""

import math
from typing import TYPE_CHECKING

from langgraph_rlm.cli.threads_commands import size

if TYPE_CHECKING:
    from langgraph_rlm.state import Coverage


def coverage_line(coverage: "Coverage") -> str:
    """Say how much of the contexts models have seen: `seen by models: 83 % of 1.2 MB`."""
    seen, whole = coverage["seen"], size(coverage["size"])
    if seen is None:
        line = f"seen by models: not known, the contexts are too large ({whole})"
    else:
        line = f"seen by models: {percent(seen)} of {whole}"
    return f"{line}; code read it as a whole" if coverage["whole"] else line


def percent(share: float) -> str:
    """Write a share: 100 % only for all, 0 % only for nothing."""
    if 0 < share < 0.01:
        return "under 1 %"
    return f"{math.floor(share * 100)} %"
