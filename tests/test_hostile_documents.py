"""Hostile and broken files are taken or refused clearly, within time and memory; two thousand of
them under `slow`."""

import os
import re
import resource
import time
from collections import Counter
from pathlib import Path

import pytest

from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.joined import FileDone
from tests.documents import hostile

SECONDS = 60.0
MEGABYTES = 1400
"""The limit of a worker, with Python and what it has in use itself."""


def largest_child() -> int:
    """The most megabytes that any child of this process has had, those of other tests too."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10


def own_size() -> int:
    """The most megabytes that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


class Trial:
    """Ingests folders of hostile files, and keeps count."""

    def __init__(self, at: Path) -> None:
        self.store = BlobStore.open(at / "blobs")
        self._largest_before = largest_child()
        self.files = 0
        self.refused_whole = 0
        """Files of the folders, not of what is in them."""
        self.taken = 0
        self.refused: Counter[str] = Counter()
        self.worst = (0.0, "")
        self._before = time.monotonic()

    def ingest(self, folder: Path) -> None:
        """Every file of the folder is either in the context or in the list of what was skipped."""
        self._before = time.monotonic()
        handle = ingest(folder, self.store, on_file=self._on_file)
        self.taken += handle.items or 0
        for entry in handle.skipped:
            reason = re.search(r"\((.*)\)$", entry)
            assert reason is not None, entry
            said = ": ".join(reason[1].split(": ")[:2])
            kind = re.sub(r"0x\w+|b'.*|'.*|\d[\d,]*", "N", said)
            self.refused[kind[:80]] += 1
            self.refused_whole += "/" not in entry.removesuffix(reason[0])

    def _on_file(self, file: FileDone) -> None:
        self.files += 1
        now = time.monotonic()
        self.worst = max(self.worst, (now - self._before, file.name))
        self._before = now

    def report(self) -> str:
        largest = largest_child()
        own = own_size()
        reasons = "\n".join(f"{count:6} {reason}" for reason, count in self.refused.most_common())
        return (
            f"{self.files} files, {self.refused_whole} refused whole; with what was in them "
            f"{self.taken} taken, {sum(self.refused.values())} refused; slowest {self.worst[0]:.1f} s "
            f"({self.worst[1]}); largest worker {largest} MB, host {own} MB\n{reasons}"
        )

    def check(self) -> None:
        assert self.worst[0] < SECONDS, self.report()
        # a child's count begins with what this process had when it started it
        assert largest_child() <= max(MEGABYTES, self._largest_before, own_size())


def test_spoiled_files_are_taken_or_refused(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    hostile.write_files(tmp_path / "in", seed=1, count=90)
    trial.ingest(tmp_path / "in")
    trial.check()
    assert trial.taken > 20 and sum(trial.refused.values()) > 20, trial.report()


def test_files_that_are_hostile_by_design_are_taken_or_refused(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    hostile.write_designed(tmp_path / "in")
    trial.ingest(tmp_path / "in")
    trial.check()
    assert trial.refused["a zip bomb: unpacks to over N times its size"] >= 3, trial.report()


def test_what_is_odd_in_a_folder_is_taken_or_refused(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    hostile.write_odd(tmp_path / "in")
    trial.ingest(tmp_path / "in")
    trial.check()
    is_root = os.geteuid() == 0
    assert trial.refused["unreadable"] == (0 if is_root else 1), trial.report()
    assert trial.refused["not a regular file"] + trial.refused["a link that leads outside"] >= 5


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_thousand_hostile_files(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    for seed in range(100, 125):
        hostile.write_files(tmp_path / str(seed), seed=seed, count=80)
        trial.ingest(tmp_path / str(seed))
        print(seed, trial.report())
    trial.check()
