"""Kills: a process that dies at any moment of a run resumes in another, gives the same answer, and pays for nothing twice.

A sample of what `python -m tests.faults.campaign` does at every write of the saver; the slow test is that campaign.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .campaign import Campaign, harnesses_in, main
from .databases import CannotStart, Postgres
from .harness import Harness, Kill, Verdict
from .provider import Provider

STEP = 60
"""Writes between two kills of the sample: with each of two offsets, five kills or so of one run."""


def sampled(name: str, harness: Harness) -> Iterator[list[Kill]]:
    """A run that dies again and again before a write, one after, and one at moments that have nothing to do with writes."""
    writes, seconds = harness.reference["writes"], harness.reference["seconds"]
    often = writes // STEP
    yield [Kill(write=STEP + 1, after=name == "SQLite") for _ in range(often)]
    yield [
        Kill(write=1),
        Kill(write=2, after=True),
        Kill(calls=9, seconds=0.01),
        Kill(seconds=seconds / 3),
        Kill(calls=10),
    ]


def test_a_run_killed_again_and_again_pays_for_nothing_twice(tmp_path: Path) -> None:
    """On SQLite and PostgreSQL, at three levels, with batches and tools: the answer of an undisturbed run, no saved call made again."""
    campaign = Campaign()
    with ExitStack() as servers:
        try:
            postgres, missing = servers.enter_context(Postgres()), ""
        except CannotStart as error:
            postgres, missing = None, str(error)
        provider = servers.enter_context(Provider(seconds=0.01))
        harnesses = harnesses_in(tmp_path, provider, postgres)
        campaign.run(harnesses, sampled)
        assert _sees_repeats(harnesses["SQLite"])
    assert not campaign.failures
    assert campaign.kills >= 8 * len(harnesses)
    if missing:
        pytest.skip(f"SQLite is well, PostgreSQL was not tried: {missing}")


def _sees_repeats(harness: Harness) -> bool:
    """The measure itself: had the undisturbed run been a resume after everything was saved, each of its calls would have counted."""
    verdict = Verdict(harness.undisturbed)
    harness.judge(
        verdict, harness.reference, [(0, harness.saved(harness.undisturbed))], killed=False
    )
    return sorted(verdict.repeated_after_saved) == sorted(harness.expected)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_five_hundred_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every write of the saver, and at random moments."""
    monkeypatch.setattr("sys.argv", ["campaign", "--kills", "500", "--random", "100"])
    assert main() == 0
