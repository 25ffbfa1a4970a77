"""Readable: the files of the host that a locked-in Python needs. Reads none of them."""

import mimetypes
import site
import sys
import sysconfig
from pathlib import Path

SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/usr/share/zoneinfo",
    *map(str, mimetypes.knownfiles),
)
"""Shared libraries, the time zones, and tables of media types: openpyxl, which can see that these
are there, cannot be imported if they cannot be read."""


def readable_paths(packages: bool) -> list[str]:
    """Give what a worker may read: the library, what it is linked to, and the packages."""
    found = {*SYSTEM, *library(), str(Path(sys.base_prefix, "lib"))}
    if packages:
        found |= {*site.getsitepackages(), str(Path(sys.prefix, "lib"))}
        found |= {site.getusersitepackages()} if site.ENABLE_USER_SITE else set[str]()
    return sorted(found)


def library() -> list[str]:
    """Give the folders of the standard library, as they stand in `sys.path`."""
    pure, compiled = sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")
    dynamic = sysconfig.get_config_var("DESTSHARED") or str(Path(compiled, "lib-dynload"))
    return sorted({pure, compiled, str(dynamic), str(Path(pure, "lib-dynload"))})
