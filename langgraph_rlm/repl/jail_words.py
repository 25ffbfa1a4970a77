"""Words of the jail: what code reads when the jail has refused something.

The worker loads this file by its path: it imports the standard library alone. Nothing rests on it:
the kernel refuses, whether or not these words come first.
"""

import errno
import sys
from typing import Any

PROCESSES = (
    "this Python is jailed: it may start no processes or programs. Threads work, and "
    "llm_query_batched runs calls in parallel"
)
NETWORK = "this Python is jailed: it has no network. Ask the tools, or work on what is here"
FILES = (
    "this Python is jailed: it reads its own packages and its working folder, and writes in its "
    "working folder alone (os.getcwd())"
)
JAILED = (
    "this Python is jailed: it has no network and no processes beside it, and no files but its "
    "packages and those in its working folder (os.getcwd())"
)
REFUSED = {
    "os.exec": PROCESSES,
    "os.fork": PROCESSES,
    "os.forkpty": PROCESSES,
    "os.posix_spawn": PROCESSES,
    "os.spawn": PROCESSES,
    "os.system": PROCESSES,
    "subprocess.Popen": PROCESSES,
    "socket.getaddrinfo": NETWORK,
    "socket.gethostbyaddr": NETWORK,
    "socket.gethostbyname": NETWORK,
    "socket.bind": NETWORK,
    "socket.connect": NETWORK,
    "socket.sendto": NETWORK,
}
"""Audit events of what is refused in any case, with the reason."""
NEW_SOCKET = "socket.__new__"
LOCAL_FAMILIES = (-1, 1)
"""Families of sockets that `socketpair` makes, as the event has them."""


def refuse_with_reasons() -> None:
    """Let code that starts a process or opens a connection know at once why it cannot."""
    sys.addaudithook(_audit)


def _audit(event: str, given: tuple[Any, ...]) -> None:
    if event in REFUSED:
        raise PermissionError(errno.EPERM, REFUSED[event])
    if event == NEW_SOCKET and given[1] not in LOCAL_FAMILIES:
        raise PermissionError(errno.EPERM, NETWORK)


def hint(error: BaseException) -> str:
    """Give a sentence for an error that the jail may have caused; empty for any other.

    Its own words are not said twice.
    """
    if not isinstance(error, OSError) or error.errno not in (errno.EPERM, errno.EACCES):
        return ""
    if "is jailed" in str(error):
        return ""
    return JAILED if error.filename is None else FILES
