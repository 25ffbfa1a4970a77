"""Coverage: what it costs to find out what models have seen, and to check quotes.

    python -m benchmarks.coverage [--megabytes 40] [--prompts 10000]

Times are CPU seconds of this process; memory is what it has at most.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

from langgraph_rlm import create_rlm, verify_quotes
from langgraph_rlm.coverage.matching import Matcher
from langgraph_rlm.coverage.of_log import Bounds, covered
from langgraph_rlm.coverage.series import Series
from langgraph_rlm.testing import ScriptedModel, cell

HEAD = b"Sum up what follows in a few words, and say what is missing in it:\n\n"


def words(size: int) -> str:
    """Make a text of random words, in lines."""
    rng = random.Random(1)
    some = [f"{rng.getrandbits(32):x}" for _ in range(50_000)]
    lines = (" ".join(rng.choices(some, k=10)) for _ in range(size // 80))
    return "\n".join(lines)[:size]


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Give the CPU seconds of a call, and what it gives."""
    began = time.process_time()
    given = call()
    return time.process_time() - began, given


def matching(text: str, prompts: int) -> None:
    """Find prompts of 4 KB in a text, in order, out of order, and prompts that are not of it."""
    data = text.encode()
    seconds, matcher = timed(lambda: Matcher(data))
    print(f"index of {len(data) / 1e6:.0f} MB: {seconds:.2f} s")
    rng = random.Random(2)
    starts = [rng.randrange(len(data) - 4000) for _ in range(prompts)]
    series = Series(matcher)
    seconds, found = timed(lambda: [series.matches(HEAD + data[at : at + 4000]) for at in starts])
    assert all(any(match.size >= 4000 for match in each) for each in found)
    print(f"{prompts:,} prompts of 4 KB out of it: {seconds:.2f} s")
    other = [rng.randbytes(2000).hex().encode() for _ in range(max(1, prompts // 10))]
    seconds, _ = timed(lambda: [series.matches(each) for each in other])
    print(f"{len(other):,} prompts of 4 KB of other texts: {seconds:.2f} s")


def run(size: int) -> None:
    """Compare the end of a run with the run: chunks of 4 KB over all of a context."""
    text = words(size)
    code = (
        "chunks = [context[i:i + 4000] for i in range(0, len(context), 4000)]\n"
        "replies = llm_query_batched([f'Sum up: {chunk}' for chunk in chunks])\nFINAL('x')"
    )
    limits = {"max_sub_calls": 100_000}
    with tempfile.TemporaryDirectory() as store:
        graph = create_rlm(
            ScriptedModel(replies=[cell(code)]),
            sub_model=ScriptedModel(answer=lambda _: "ok", seconds=0.5),
            limits=limits,
            blob_store=store,
        )
        began = time.perf_counter()
        state: Any = {}
        stream = graph.stream({"query": "q", "context": text}, stream_mode="updates")
        for update in stream:
            for values in update.values():
                state |= (values or {}).get("log", {})
        whole = time.perf_counter() - began
        seconds, _ = timed(lambda: covered(state, graph.rlm.blobs, bounds=Bounds()))
        graph.rlm.sessions.close()
    share = seconds / whole
    print(f"run over {size / 1e6:g} MB: {whole:.2f} s, its coverage {seconds:.3f} s ({share:.1%})")


def quotes(text: str) -> None:
    """Check 20 quotes that stand in a text, and 20 that nearly do."""
    rng = random.Random(3)
    told = text.split()
    places = [rng.randrange(len(told) - 20) for _ in range(20)]
    exact = " ".join(f'"{" ".join(told[at : at + 12])}"' for at in places)
    near = " ".join(
        f'"{" ".join([*told[at : at + 6], "changed", *told[at + 7 : at + 14]])}"' for at in places
    )
    for name, answer in (("exact", exact), ("near", near)):
        seconds, found = timed(lambda answer=answer: verify_quotes(answer, text))
        assert {quote.status for quote in found} == {name}
        print(f"20 {name} quotes of {len(text) / 1e6:.0f} MB: {seconds:.2f} s")


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--prompts", type=int, default=10_000)
    given = parser.parse_args()
    text = words(given.megabytes * 1_000_000)
    matching(text, given.prompts)
    quotes(text)
    for size in (100_000, 1_000_000, 4_000_000):
        run(size)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{most:.0f} MB of memory at most")


if __name__ == "__main__":
    main()
