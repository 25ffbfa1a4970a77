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
    "/proc/self/cgroup",
)
"""Shared libraries, the time zones, tables of media types (openpyxl, which can see that these are
there, cannot be imported if they cannot be read), and the name of the process's own control
group."""
GROUPS = Path("/sys/fs/cgroup")
LIMITS = (
    *("cpu.max", "memory.max"),  # version 2
    *("cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.limit_in_bytes"),  # version 1
)
"""Files of a control group that say what its processes may use. DuckDB answers no query without
them; nothing of other groups or of their processes is in them."""


def readable_paths(packages: bool) -> list[str]:
    """Give what a worker may read: the library, what it is linked to, and the packages."""
    found = {*SYSTEM, *library(), *_limits(), str(Path(sys.base_prefix, "lib"))}
    if packages:
        found |= {*site.getsitepackages(), str(Path(sys.prefix, "lib"))}
        found |= {site.getusersitepackages()} if site.ENABLE_USER_SITE else set[str]()
    return sorted(found)


def library() -> list[str]:
    """Give the folders of the standard library, as they stand in `sys.path`."""
    pure, compiled = sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")
    dynamic = sysconfig.get_config_var("DESTSHARED") or str(Path(compiled, "lib-dynload"))
    return sorted({pure, compiled, str(dynamic), str(Path(pure, "lib-dynload"))})


def _limits() -> list[str]:
    """Give the files of `LIMITS` of this process's control groups, and of those around them."""
    try:
        rows = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return []
    found: set[Path] = set()
    for row in rows:
        _, controllers, own = row.split(":", 2)
        for root in (GROUPS, *(GROUPS / name for name in controllers.split(",") if name)):
            group = root / own.lstrip("/")
            found |= {root, group, *(each for each in group.parents if each.is_relative_to(root))}
    return sorted(str(group / name) for group in found for name in LIMITS)
