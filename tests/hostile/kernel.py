"""Kernel: what a process could switch off, load or ask of the kernel, and other conventions of calling it."""

import platform

from langgraph_rlm.processes.jail_calls import MACHINES, numbers

from .calls import REFUSED
from .row import Row, rows

MACHINE = platform.machine() if platform.machine() in MACHINES else "x86_64"
BY_NAME = numbers(REFUSED, MACHINE)

PRCTLS = {
    "outlive the host": (1, 0),
    "be dumped": (4, 1),
    "keep capabilities": (8, 1),
    "secure bits": (28, 0),
    "subreaper": (36, 1),
    "memory map": (35, 0),
    "a tracer": (0x59616D61, -1),
    "timer slack": (29, 1),
    "speculation": (53, 0),
    "seccomp by prctl": (22, 1),
    "ambient set": (47, 2),
    "bounding set": (24, 0),
    "merging of memory": (67, 1),
    "syscall user dispatch": (59, 1),
}

OF_X86 = [
    Row(
        "conventions",
        "int 0x80: getpid",
        "result = machine_code(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')",
        "filter kills",
    ),
    Row(
        "conventions",
        "int 0x80: fork",
        "result = machine_code(b'\\x53\\xb8\\x02\\0\\0\\0\\xcd\\x80\\x5b\\xc3')",
        "filter kills",
    ),
    Row(
        "conventions",
        "int 0x80: socketcall",
        "result = machine_code(b'\\x53\\xb8\\x66\\0\\0\\0\\xcd\\x80\\x5b\\xc3')",
        "filter kills",
    ),
    Row("conventions", "x32: getpid", "result = S(0x40000000 | 39)", "filter kills"),
    Row(
        "conventions",
        "x32: execve",
        "result = S(0x40000000 | 520, P(b'/bin/sh'), 0, 0)",
        "filter kills",
    ),
    Row("conventions", "x32: io_uring", "result = S(0x40000000 | 425, 8, 0)", "filter kills"),
    Row(
        "conventions",
        "syscall from written code",
        "result = machine_code(b'\\xb8\\x39\\0\\0\\0\\x0f\\x05\\xc3')\nif result < 0: raise OSError(-result, 'fork')",
        "filter",
    ),
]

ROWS: list[Row] = [
    *rows(
        "system calls",
        "filter",
        {name: f"result = S({name!r}, 0, 0, 0, 0, 0, 0)" for name in BY_NAME},
    ),
    *rows(
        "system calls",
        "filter",
        {f"number {n}": f"result = S({n}, 0, 0, 0)" for n in (451, 462, 470, 511, 1000)},
    ),
    *rows(
        "prctl",
        "filter",
        {
            name: f"L.prctl.restype = ctypes.c_int\nif L.prctl({a}, ctypes.c_long({b}), 0, 0, 0) < 0: raise OSError(ctypes.get_errno(), 'prctl')"
            for name, (a, b) in PRCTLS.items()
        },
    ),
    *rows(
        "kernel",
        "filter",
        {
            "raise the size of files": "S('prlimit64', 0, 1, P(Q(1 << 40, 1 << 40)), 0)",
            "lower the size of cores": "S('prlimit64', 0, 4, P(Q(0, 0)), 0)",
            "raise open files": "S('prlimit64', 0, 7, P(Q(9999, 9999)), 0)",
            "raise its processes": "S('prlimit64', 0, 6, P(Q(1 << 30, 1 << 30)), 0)",
            "the old setrlimit": "S('setrlimit', 9, P(Q(1 << 40, 1 << 40)))",
            "type into a terminal": "import fcntl\nfcntl.ioctl(0, 0x5412, b'x')",
            "the same with high bits": "S('ioctl', 0, 0x100005412, P(b'x'))",
            "paste into a terminal": "import fcntl\nfcntl.ioctl(0, 0x541C, b'x')",
            "flags of a file": "import fcntl\nfcntl.ioctl(os.open('flagged', 66), 0x40086602, Q(16))",
            "clone a file's blocks": "import fcntl\nfcntl.ioctl(os.open('flagged2', 66), 0x40049409, 0)",
            "seal": "import fcntl\nfcntl.fcntl(0, 1033, 1)",
            "a larger pipe": "import fcntl\nfcntl.fcntl(os.pipe()[1], 1031, 1 << 20)",
            "another filter": "S('seccomp', 1, 0, P(bytes(16)))",
            "a listener of calls": "S('seccomp', 1, 8, P(bytes(16)))",
            "shared memory of System V": "S('shmget', 0, 1 << 20, 0o1600)",
            "a queue of messages": "S('msgget', 0, 0o1600)",
            "semaphores": "S('semget', 0, 1, 0o1600)",
            "a key": "S('add_key', P(b'user'), P(b'x'), P(b'v'), 1, -2)",
            "a key of the session": "S('keyctl', 0, -4, 0)",
            "a program in the kernel": "S('bpf', 0, P(struct.pack('IIII', 1, 4, 4, 1) + bytes(100)), 72)",
            "performance counters": "S('perf_event_open', P(struct.pack('II', 1, 112) + bytes(104)), 0, -1, -1, 0)",
            "faults of memory": "S('userfaultfd', 1)",
            "locked memory": "S('mlockall', 1)",
            "setuid": "os.setuid(12345)",
            "setresuid": "os.setresuid(0, 0, 0)",
            "setgroups": "os.setgroups([0])",
            "capset": "S('capset', P(struct.pack('II', 0x20080522, 0)), P(b'\\xff' * 24))",
            "the host's name": "S('sethostname', P(b'evil'), 4)",
            "the clock": "S('clock_settime', 0, P(Q(0, 0)))",
            "adjust the clock": "S('clock_adjtime', 0, P(bytes(208)))",
            "timers": "S('timer_create', 0, 0, P(ctypes.create_string_buffer(8)))",
            "a namespace of users": "S('unshare', 0x10000000)",
            "a namespace of mounts": "S('unshare', 0x20000)",
            "a table of files of its own": "S('unshare', 0x400)",
            "enter a namespace": "S('setns', 0, 0)",
            "nice": "os.nice(-5)",
            "reboot": "S('reboot', 0xFEE1DEAD, 672274793, 0, 0)",
            "the kernel's log": "S('syslog', 10, 0, 0)",
            "splice": "S('splice', 0, 0, 0, 0, 1, 0)",
            "personality": "S('personality', 0x400000)",
        },
    ),
    *(OF_X86 if MACHINE == "x86_64" else []),
]
