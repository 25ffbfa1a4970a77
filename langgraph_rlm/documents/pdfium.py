"""Pdfium: the library for PDF in kreuzberg's wheel, laid out for a worker that is locked in.

kreuzberg unpacks it into the temporary folder, and makes it executable, which the jail refuses. So
a process of its own, that reads nothing but a PDF of ours, lets it do so once for each process of
the host; workers get a link, which is taken as it is.
"""

import shutil
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.lazy import per_process
from langgraph_rlm.processes.worker import Worker

FOLDER = "kreuzberg-pdfium"
PROGRAM = """
import kreuzberg
try:
    kreuzberg.extract_bytes_sync(b"%PDF-1.4", "application/pdf")
except kreuzberg.KreuzbergError:
    pass
"""
SECONDS = 60


class _Unpacked:
    """A folder with the unpacked library, until this process ends."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="langgraph-rlm-pdfium-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        environment = {"TMPDIR": self._folder, "TMP": self._folder, "HOME": self._folder}
        done = subprocess.run(
            [sys.executable, "-P", "-c", PROGRAM],
            env=environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
        )
        self.path = Path(self._folder, FOLDER)
        if not self.path.is_dir():
            said = done.stderr.decode(errors="replace")[-500:]
            raise SandboxError(f"kreuzberg unpacks no library for PDF: {said}. Install it again.")


_unpacked = per_process(_Unpacked)


def lay_out(worker: Worker) -> None:
    """Give a worker the library, where kreuzberg looks for it. The worker may only read it.

    Raises:
        SandboxError: kreuzberg does not unpack it.
    """
    there = worker.folder / FOLDER
    there.mkdir(exist_ok=True)
    for library in _unpacked().path.iterdir():
        link = there / library.name
        if not link.is_symlink():
            link.symlink_to(worker.give(library, library.name))
