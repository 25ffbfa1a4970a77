"""Filter: the seccomp program that decides over each system call of a jailed process.

The worker loads this file by its path: it imports the standard library alone. The program is
classic BPF, as the kernel takes it: it reads `struct seccomp_data` (number, convention, six
arguments), and whatever no rule allows is refused.
"""

import errno
import struct

if __package__:
    from langgraph_rlm.processes.jail_calls import (
        ABSENT,
        ATTRIBUTES,
        FREE,
        MACHINES,
        NEWEST,
        RULED,
        numbers,
    )
else:  # beside the worker, whose folder is on the path while it loads
    from jail_calls import (  # pyright: ignore
        ABSENT,
        ATTRIBUTES,
        FREE,
        MACHINES,
        NEWEST,
        RULED,
        numbers,
    )

Step = tuple[int, int, int, int]
"""Operation, steps to skip if true, steps to skip if false, operand."""

LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOWED, KILLED = 0x7FFF0000, 0x80000000
X32 = 0x40000000
"""Numbers from here on belong to another convention of x86_64, with other meanings."""

NUMBER, CONVENTION = 0, 4
"""Offsets in `struct seccomp_data`."""

THREAD = 0x003D0F00
"""`clone` as glibc starts a thread: memory, files, signals and thread group shared, no new
namespaces, no parent's signal."""
THREAD_OF_MUSL = THREAD | 0x00400000
O_ACCMODE, O_TRUNC, O_TMPFILE = 0o3, 0o1000, 0o20000000
RLIMIT_AS = 9
UNIX, STREAM, KIND_OF_SOCKET = 1, 1, 0xF

FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
"""Duplicate, flags, record locks, size of a pipe's buffer. Not owners, signals, leases, seals."""
IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""Is it a terminal, its size, bytes to read, non-blocking, close on exec or not."""
PRCTLS = (3, 15, 16, 21, 39, 0x53564D41)
"""Read flags of the process; name a thread; name memory (Python's own allocator does)."""


def refused(error: int) -> int:
    """Give the verdict that makes a call fail with an error number."""
    return 0x00050000 | error


def program(machine: str, pid: int) -> bytes:
    """Write the filter.

    Args:
        machine: one of `MACHINES`.
        pid: of the process that is jailed, the only one that it may signal.
    """
    steps = [*_convention(machine), (LOAD, 0, 0, NUMBER)]
    if machine == "x86_64":
        steps += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILLED)]
    for number in numbers(FREE, machine).values():
        steps += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOWED)]
    rules = _rules(pid)
    for name, number in numbers(RULED, machine).items():
        rule = rules[name]
        steps += [(EQUAL, 0, len(rule), number), *rule]
    for number in numbers(ABSENT, machine).values():
        steps += [(EQUAL, 0, 1, number), (RETURN, 0, 0, refused(errno.ENOSYS))]
    for number in numbers(ATTRIBUTES, machine).values():
        steps += [(EQUAL, 0, 1, number), (RETURN, 0, 0, refused(errno.EOPNOTSUPP))]
    steps += [(AT_LEAST, 0, 1, NEWEST), (RETURN, 0, 0, refused(errno.ENOSYS))]
    steps += [(RETURN, 0, 0, refused(errno.EPERM))]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _convention(machine: str) -> list[Step]:
    """Kill a process that calls by another convention, such as `int 0x80`: numbers differ there."""
    return [
        (LOAD, 0, 0, CONVENTION),
        (EQUAL, 1, 0, MACHINES[machine]),
        (RETURN, 0, 0, KILLED),
    ]


def _rules(pid: int) -> dict[str, list[Step]]:
    """Give the rule of each call whose arguments matter."""
    own_process = _one_of(0, (pid,))
    return {
        "open": _opening(1),
        "openat": _opening(2),
        "clone": _one_of(0, (THREAD, THREAD_OF_MUSL)),
        "kill": own_process,
        "tgkill": own_process,
        "prlimit64": _own_limits(),
        "fcntl": _one_of(1, FCNTLS),
        "ioctl": _one_of(1, IOCTLS, errno.ENOTTY),
        "prctl": _one_of(0, PRCTLS),
        "socketpair": _pair_of_streams(),
        "sendto": _without_address(),
    }


def _argument(index: int, *, upper: bool = False) -> Step:
    """Load the lower or upper half of an argument."""
    return (LOAD, 0, 0, 16 + 8 * index + 4 * upper)


def _one_of(index: int, values: tuple[int, ...], error: int = errno.EPERM) -> list[Step]:
    """Allow some values of an argument that the kernel reads 32 bits of."""
    steps = [_argument(index)]
    for value in values:
        steps += [(EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOWED)]
    return [*steps, (RETURN, 0, 0, refused(error))]


def _opening(index: int) -> list[Step]:
    """Refuse nameless files, and to empty a file that is opened for reading.

    The first could not be counted. The second, Landlock does not see before Linux 6.2.
    """
    return [
        _argument(index),
        (ANY_BIT, 0, 1, O_TMPFILE),
        (RETURN, 0, 0, refused(errno.EOPNOTSUPP)),
        (ANY_BIT, 0, 3, O_TRUNC),
        (AND, 0, 0, O_ACCMODE),
        (EQUAL, 0, 1, 0),
        (RETURN, 0, 0, refused(errno.EPERM)),
        (RETURN, 0, 0, ALLOWED),
    ]


def _own_limits() -> list[Step]:
    """Let a process read its own limits, and set that of its memory, which cannot be raised."""
    return [
        _argument(0),
        (EQUAL, 0, 7, 0),
        _argument(1),
        (EQUAL, 4, 0, RLIMIT_AS),
        _argument(2),
        (EQUAL, 0, 3, 0),
        _argument(2, upper=True),
        (EQUAL, 0, 1, 0),
        (RETURN, 0, 0, ALLOWED),
        (RETURN, 0, 0, refused(errno.EPERM)),
    ]


def _pair_of_streams() -> list[Step]:
    """Allow what asyncio wakes itself with: two connected streams, which can reach nobody else."""
    return [
        _argument(0),
        (EQUAL, 0, 4, UNIX),
        _argument(1),
        (AND, 0, 0, KIND_OF_SOCKET),
        (EQUAL, 0, 1, STREAM),
        (RETURN, 0, 0, ALLOWED),
        (RETURN, 0, 0, refused(errno.EPERM)),
    ]


def _without_address() -> list[Step]:
    """Allow `send`, which is `sendto` without an address."""
    return [
        _argument(4),
        (EQUAL, 0, 3, 0),
        _argument(4, upper=True),
        (EQUAL, 0, 1, 0),
        (RETURN, 0, 0, ALLOWED),
        (RETURN, 0, 0, refused(errno.EPERM)),
    ]
