"""Ranges: what code has read takes no more room in a log the more that is, and stays countable."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import TypeAdapter

from langgraph_rlm import create_rlm
from langgraph_rlm.storage.ranges import (
    MOST_NEW,
    MOST_RANGES,
    Ranges,
    Touched,
    coarsened,
    merge_ranges,
    noted,
    size_of,
)
from langgraph_rlm.testing import ScriptedModel, cell

from .models import thread

SPANS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=60)


def bytes_of(ranges: Sequence[Sequence[int]]) -> set[int]:
    return {byte for start, end in ranges for byte in range(start, end)}


def gaps(ranges: Ranges) -> list[int]:
    return [after[0] - before[1] for before, after in zip(ranges[:-1], ranges[1:], strict=True)]


@given(SPANS, SPANS)
def test_merged_ranges_are_the_same_bytes_whichever_come_first(one: Any, other: Any) -> None:
    merged = merge_ranges([*one, *other])
    assert bytes_of(merged) == bytes_of([*one, *other])
    assert all(gap > 0 for gap in gaps(merged))
    assert all(start < end for start, end in merged)
    assert merged == merge_ranges([*merge_ranges(other), *([*span] for span in one)])


@given(SPANS, st.integers(1, 20))
def test_joining_keeps_every_byte_and_the_largest_gaps(spans: Any, most: int) -> None:
    ranges = merge_ranges(spans)
    joined = coarsened(ranges, most)
    assert len(joined) == min(most, len(ranges))
    assert bytes_of(ranges) <= bytes_of(joined)
    assert merge_ranges(joined) == joined
    assert sorted(gaps(joined)) == sorted(gaps(ranges), reverse=True)[: len(joined) - 1][::-1]
    assert coarsened(joined, most) == joined


READS = st.lists(
    st.tuples(st.integers(0, 2_000_000), st.integers(1, 4000), st.integers(1, 400)),
    min_size=1,
    max_size=12,
)
"""Reads of many ranges: a first byte, how many ranges, and how far apart."""


def ranges_of(read: tuple[int, int, int]) -> Ranges:
    first, count, apart = read
    rng = random.Random(count)
    starts = [first + (apart + 50) * number + rng.randrange(apart) for number in range(count)]
    return [(start, start + 1 + start % 40) for start in starts]


@settings(max_examples=25, deadline=None)
@given(READS)
def test_what_was_read_lies_within_few_ranges_and_is_counted(reads: Any) -> None:
    touched = Touched()
    for read in reads:
        touched.add(ranges_of(read))
        assert len(touched.new) <= MOST_NEW
    entry = noted({"d": touched})
    ranges = entry["reads"]["d"]
    every = merge_ranges(span for read in reads for span in ranges_of(read))
    assert len(ranges) <= MOST_RANGES
    assert size_of(merge_ranges([*ranges, *every])) == size_of(ranges)
    told = entry.get("read_bytes", {}).get("d", size_of(ranges))
    assert size_of(every) <= told <= size_of(ranges)
    if sum(count for _, count, _ in reads) <= MOST_NEW:
        assert told == size_of(every)
    if len(every) <= MOST_RANGES and len(reads) == 1:
        assert ranges == [[*span] for span in every]


@settings(max_examples=10, deadline=None)
@given(READS)
def test_a_snapshot_in_between_changes_nothing(reads: Any) -> None:
    kept, adapter = Touched(), TypeAdapter(Touched)
    whole = Touched()
    for read in reads:
        whole.add(ranges_of(read))
        kept.add(ranges_of(read))
        kept = adapter.validate_json(json.dumps(asdict(kept)))
    assert noted({"d": kept}) == noted({"d": whole})


@settings(max_examples=10, deadline=None)
@given(READS)
def test_what_an_answer_has_joined_counts_as_many_bytes_as_it_says(reads: Any) -> None:
    """As `sql` does: an entry with joined ranges is taken into the entry of its cell."""
    own = Touched()
    for read in reads:
        own.add(ranges_of(read))
    entry = noted({"d": own})
    touched = Touched()
    touched.add(entry["reads"]["d"], entry.get("read_bytes", {}).get("d"))
    assert noted({"d": touched}) == entry


class Counted(int):
    """A byte that counts how often it was compared, to put ranges in order."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) < int(other)


def test_putting_reads_in_order_takes_work_that_grows_with_the_reads() -> None:
    """Not with all that was read before, again for each of them."""

    def compared(greps: int) -> int:
        Counted.compared = 0
        touched = Touched()
        for grep in range(greps):
            touched.add((Counted(100 * at + grep), 100 * at + grep + 1) for at in range(5000))
        touched.settle()
        return Counted.compared

    assert compared(40) < 5 * compared(10)


def log_of(greps: int, matches: int) -> tuple[dict[str, Any], float, float]:
    """Give a cell's entry, the share that it has read, and the share that it should have."""
    lines = [f"line {number} of key{number % 40:02d}, and some more" for number in range(60_000)]
    code = (
        f"for k in range({greps}):\n"
        f"    for _ in range(2):\n"
        f"        grep(f'key{{k:02d}}', max_matches={matches})\nFINAL('x')"
    )
    graph = create_rlm(ScriptedModel(replies=[cell(code)]), checkpointer=InMemorySaver())
    config: Any = thread()
    out = graph.invoke({"query": "q", "context": "\n".join(lines)}, config)
    entry = graph.get_state(config).values["log"]["0.0"]
    found = [each for k in range(greps) for each in lines[k::40][:matches]]
    size = len("\n".join(lines))
    return entry, out["coverage"]["contexts"]["context_0"]["read"], len("".join(found)) / size


@pytest.mark.parametrize(("greps", "matches"), [(1, 100), (2, 1500), (3, 1500)])
def test_the_log_of_a_cell_does_not_grow_with_what_its_greps_find(greps: int, matches: int) -> None:
    entry, share, expected = log_of(greps, matches)
    assert len(json.dumps(entry)) < 25 * MOST_RANGES
    assert ("read_bytes" in entry) == (greps * matches > MOST_RANGES)
    assert share == pytest.approx(expected, abs=0.0002)
