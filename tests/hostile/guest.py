"""What a hostile program finds ready in its session: raw system calls, and how it tells what came of it.

It is code for the guest. `C` has what it knows of its target; `outcome` runs one program.
"""

PRELUDE = """
import ctypes, errno, json, mmap, os, socket, struct, sys, threading, time
L = ctypes.CDLL(None, use_errno=True)
L.syscall.restype = ctypes.c_long
def S(name, *given):
    number = N[name] if isinstance(name, str) else name
    got = L.syscall(ctypes.c_long(number), *[ctypes.c_long(x) if isinstance(x, int) else x for x in given])
    if got < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return got
KEPT = []
def P(data):
    KEPT.append(data)  # the pointer alone would not keep it
    return ctypes.cast(data, ctypes.c_void_p)
def Q(*numbers):
    return struct.pack("Q" * len(numbers), *numbers)
def machine_code(code):
    room = mmap.mmap(-1, 4096, prot=7)
    room.write(code)
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(room)))()
HOME = os.getcwd()
def outcome(code):
    os.chdir(HOME)
    names = {name: value for name, value in globals().items() if not name.startswith("__")}
    try:
        exec(code, names)
    except OSError as error:
        return ["OSError", errno.errorcode.get(error.errno, "?"), str(error)[:200]]
    except BaseException as error:
        return [type(error).__name__, "", str(error)[:200]]
    return ["ran", "", repr(names.get("result"))[:400]]
"""

FIND_SOCKET = """
import stat
def is_socket(number):
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False
fd = next(number for number in range(3, 256) if is_socket(number))
def frame(body, kind=b"J"):
    os.write(fd, kind + len(body).to_bytes(8, "big") + body)
"""
"""Finds the worker's own socket, and how to forge a message on it."""
