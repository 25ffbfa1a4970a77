"""Stand-in for what Monty's `datetime` lacks."""

from datetime import timezone

__all__ = ["MAXYEAR", "MINYEAR", "UTC"]

UTC = timezone.utc
MINYEAR, MAXYEAR = 1, 9999
