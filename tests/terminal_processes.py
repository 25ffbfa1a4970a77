"""Terminal processes: runs commands on pseudo-terminals, each in a fork of one process that has
loaded the package: a command then starts in a few milliseconds instead of two seconds.

Reads one JSON object a line: `{"arguments", "variables", "tty"}`; writes the id of the process,
then, when it has ended, its exit code.
"""

import atexit
import json
import os
import sys
from typing import Any

from langgraph_rlm.cli.main import main


def run(task: dict[str, Any]) -> None:
    """Become the command."""
    os.setsid()
    terminal = os.open(task["tty"], os.O_RDWR)  # the first that a session opens is its own
    for number in (0, 1, 2):
        os.dup2(terminal, number)
    os.close(terminal)
    os.environ.update(task["variables"])
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=encoding, closefd=False, buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding=encoding, closefd=False, buffering=1)  # noqa: SIM115
    code = 1
    try:
        main(task["arguments"], prog_name="langgraph-rlm")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Run commands until stdin ends, one after another."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run(json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
