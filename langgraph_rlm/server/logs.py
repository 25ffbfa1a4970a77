"""Logs: the server's processes write what `langgraph_rlm` logs to stderr, a record a line."""

import logging

LEVELS = ("debug", "info", "warning", "error")
FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MORE = "\n    | "
"""How further lines of a record begin, such as those of a traceback: nobody's text can look like a
record of its own."""


class OneRecord(logging.Formatter):
    """Formats a record so that its first line alone begins like one."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the lines of a record."""
        return MORE.join(super().format(record).splitlines())


def log_to_stderr(level: str) -> None:
    """Write records of `langgraph_rlm` from a level on to this process's stderr.

    Args:
        level: one of `LEVELS`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(OneRecord(FORM))
    logger = logging.getLogger("langgraph_rlm")
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
