"""Jail: a process locks itself in, by Landlock, seccomp, limits and no capabilities. For good.

The worker loads this file by its path: it imports the standard library alone. No root, container
or helper program is needed. Every step is checked, and `lock` raises if one of them fails: then
there is no jail, and no guest code may run. Sources: `landlock(7)`, `seccomp(2)`,
`capabilities(7)`, `prctl(2)` of the Linux manual.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from collections.abc import Iterable, Sequence

if __package__:
    from langgraph_rlm.processes import jail_filter
    from langgraph_rlm.processes.jail_calls import MACHINES, OWN, numbers
else:  # beside the worker, whose folder is on the path while it loads
    import jail_filter  # pyright: ignore
    from jail_calls import MACHINES, OWN, numbers  # pyright: ignore

OPEN_FILES = 256
MANY_THREADS = 8_192
"""Threads that the user may have in all before a guest can start no more. It does not hold for
root, nor is it meant as the bound: the host counts the threads of each worker."""

# what Landlock tells apart
READ_FILE, READ_DIR, WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
REFER, TRUNCATE = 1 << 13, 1 << 14
FILE_RIGHTS = READ_FILE | WRITE_FILE | TRUNCATE
READING = READ_FILE | READ_DIR
WRITING = (
    READING
    | WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SYM
    | REFER
    | TRUNCATE
)
RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: REFER, 3: TRUNCATE, 5: 1 << 15}
"""File rights, by the version of Landlock that they came with."""
PATH_BENEATH = 1
ASK_VERSION = 1

PR_SET_PDEATHSIG, PR_GET_SECCOMP, PR_CAPBSET_DROP = 1, 21, 24
PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 39, 47
CLEAR_ALL = 4
CAPABILITY_VERSION = 0x20080522
CAPABILITIES = 64
SET_FILTER, ALL_THREADS = 1, 1
FILTERED = 2
SIGKILL = 9


class JailError(Exception):
    """A part of the jail cannot be had."""


class _Kernel:
    """System calls by name, for what Python has no function for."""

    def __init__(self) -> None:
        self._c = ctypes.CDLL(None, use_errno=True)
        self._c.syscall.restype = ctypes.c_long
        self._numbers = numbers(OWN, platform.machine())

    def call(self, name: str, *arguments: int) -> int:
        """Make a system call. Raises OSError."""
        given = [ctypes.c_long(argument) for argument in arguments]
        return self._checked(name, self._c.syscall(ctypes.c_long(self._numbers[name]), *given))

    def prctl(self, option: int, *arguments: int) -> int:
        """Call `prctl`. Raises OSError."""
        given = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
        return self._checked("prctl", self._c.prctl(ctypes.c_int(option), *given))

    def _checked(self, name: str, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")
        return result


def obstacle() -> str:
    """Say why this machine cannot jail a process, and what to do; empty if nothing is known.

    It asks the kernel, and changes nothing.
    """
    if sys.platform != "linux":
        return f"It needs Linux, and this is {sys.platform}."
    machine = platform.machine()
    if machine not in MACHINES or struct.calcsize("P") != 8:
        return f"It knows {' and '.join(MACHINES)} with 64 bits, and this is {machine!r}."
    kernel = _Kernel()
    return _landlock_obstacle(kernel) or _seccomp_obstacle(kernel)


def _landlock_obstacle(kernel: _Kernel) -> str:
    try:
        _landlock_abi(kernel)
    except OSError as error:
        what_to_do = {
            errno.ENOSYS: "It came with Linux 5.13; gVisor and some containers do not have it",
            errno.EOPNOTSUPP: "The kernel has it, switched off: boot with `lsm=landlock,...`",
            errno.EPERM: "A container's seccomp profile refuses it: take Docker 23 or later, or "
            "allow `landlock_*` in the profile",
        }.get(error.errno or 0, "Ask for it by `landlock_create_ruleset`")
        return f"The kernel ({platform.release()}) gives no Landlock ({error}). {what_to_do}."
    return ""


def _seccomp_obstacle(kernel: _Kernel) -> str:
    try:
        kernel.prctl(PR_GET_SECCOMP)
        with open("/proc/sys/kernel/seccomp/actions_avail", encoding="ascii") as file:
            actions = file.read().split()
    except OSError as error:
        return f"The kernel ({platform.release()}) gives no seccomp filters ({error})."
    missing = {"kill_process", "errno", "allow"}.difference(actions)
    return f"seccomp has no {', '.join(sorted(missing))} here: Linux 4.14 does." if missing else ""


def lock(
    read: Iterable[str],
    write: Iterable[str],
    *,
    file_bytes: int,
    memory_bytes: int,
    parent: int,
) -> None:
    """Lock this process in. It must have one thread, since some of it holds for that thread alone.

    Args:
        read: files and folders that it may read, with all in them. Missing ones are left out.
        write: folders in which it may also write, make and remove files.
        file_bytes: largest file that it may write.
        memory_bytes: its address space.
        parent: the process that it dies with.

    Raises:
        JailError: something of it cannot be had. What was locked so far stays so.
    """
    if reason := obstacle():
        raise JailError(reason)
    kernel = _Kernel()
    try:
        _check_alone()
        kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
        _limit(file_bytes, memory_bytes)
        _restrict_files(kernel, [*read], [*write])
        _drop_capabilities(kernel)
        _die_with(kernel, parent)
        _filter_calls(kernel)
        _check_locked(kernel)
    except (OSError, ValueError) as error:
        raise JailError(f"The jail cannot be closed: {error}.") from error


def _check_alone() -> None:
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise JailError(f"The process has {threads} threads, and one alone can be jailed.")


def _limit(file_bytes: int, memory_bytes: int) -> None:
    """Set limits; those that are lower already stay so.

    A core of 1 byte is none for a file and, unlike 0, none for a program that gathers them.
    """
    import resource  # not on Windows, where this module is imported to say that it cannot jail

    if memory_bytes <= 0 or file_bytes <= 0:
        raise JailError(f"No limit of memory or files: {memory_bytes}, {file_bytes}.")
    for name, wanted in {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CORE: 1,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 64,
        resource.RLIMIT_NPROC: MANY_THREADS,
    }.items():
        hard = resource.getrlimit(name)[1]
        bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(name, (bound, bound))


def _landlock_abi(kernel: _Kernel) -> int:
    return kernel.call("landlock_create_ruleset", 0, 0, ASK_VERSION)


def _restrict_files(kernel: _Kernel, read: Sequence[str], write: Sequence[str]) -> None:
    """Leave the rights that rules grant, of all that this Landlock knows.

    TCP is refused as well from version 4 on, and sockets and signals of others from 6 on; the
    filter refuses all of these in any case.
    """
    abi = _landlock_abi(kernel)
    files = sum(rights for since, rights in RIGHTS_BY_ABI.items() if since <= abi)
    network, scope = (3 if abi >= 4 else 0), (3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    asked = ctypes.create_string_buffer(struct.pack("QQQ", files, network, scope), 24)
    rules = kernel.call("landlock_create_ruleset", ctypes.addressof(asked), size, 0)
    try:
        for path in filter(os.path.exists, read):
            _grant(kernel, rules, path, READING & files)
        for path in write:
            _grant(kernel, rules, path, WRITING & files)
        _grant(kernel, rules, os.devnull, (READ_FILE | WRITE_FILE) & files)
        kernel.call("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)


def _grant(kernel: _Kernel, rules: int, path: str, rights: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):
            rights &= FILE_RIGHTS
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, beneath), 12)
        kernel.call("landlock_add_rule", rules, PATH_BENEATH, ctypes.addressof(rule), 0)
    finally:
        os.close(beneath)


def _drop_capabilities(kernel: _Kernel) -> None:
    """Give up every capability, and the means to get one. Only root has any to begin with."""
    header = ctypes.create_string_buffer(struct.pack("Ii", CAPABILITY_VERSION, 0), 8)
    sets = ctypes.create_string_buffer(24)
    if os.geteuid() == 0:
        _empty_bounding_set(kernel)
    kernel.prctl(PR_CAP_AMBIENT, CLEAR_ALL)
    kernel.call("capset", ctypes.addressof(header), ctypes.addressof(sets))
    kernel.call("capget", ctypes.addressof(header), ctypes.addressof(sets))
    if any(sets.raw):
        raise JailError(f"Capabilities are left: {sets.raw.hex()}.")


def _empty_bounding_set(kernel: _Kernel) -> None:
    for capability in range(CAPABILITIES):
        try:
            kernel.prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:  # this kernel has no more of them
                return
            if error.errno != errno.EPERM:  # a container's root, who cannot, gains nothing either
                raise


def _die_with(kernel: _Kernel, parent: int) -> None:
    """Be killed when the thread that started this process ends."""
    kernel.prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != parent:
        raise JailError("The process that started this one has ended.")


def _filter_calls(kernel: _Kernel) -> None:
    steps = jail_filter.program(platform.machine(), os.getpid())
    kept = ctypes.create_string_buffer(steps, len(steps))
    packed = struct.pack("HxxxxxxQ", len(steps) // 8, ctypes.addressof(kept))
    whole = ctypes.create_string_buffer(packed, len(packed))
    thread = kernel.call("seccomp", SET_FILTER, ALL_THREADS, ctypes.addressof(whole))
    if thread:
        raise JailError(f"Thread {thread} of the process cannot be filtered.")


def _check_locked(kernel: _Kernel) -> None:
    """Try what is refused now: reading the root folder, a socket, a signal to the parent."""
    if kernel.prctl(PR_GET_NO_NEW_PRIVS) != 1 or kernel.prctl(PR_GET_SECCOMP) != FILTERED:
        raise JailError("The kernel did not take the filter.")
    for what, attempt in {
        "read the root folder": lambda: os.listdir("/"),
        "open a socket": lambda: kernel.call("socket", socket.AF_INET, socket.SOCK_STREAM, 0),
        "signal the parent": lambda: os.kill(os.getppid(), 0),
    }.items():
        try:
            attempt()
        except PermissionError:
            continue
        raise JailError(f"The process can still {what}.")
