"""Big work: what one process of `big.py` does with one input, and how long each step takes.

    python benchmarks/big_work.py package|plain|batch KIND PATH

It prints a JSON dict of seconds by step. Every package run goes through the public graph; a step is
the time from one call of the root model to the next.
"""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from big_inputs import KINDS, NEEDLE, Kind

CALLS = 5_000
"""Sub-calls of a batch."""
PASS = {
    "folder": """
import os
count = 0
for folder, _, names in os.walk({path}):
    for name in names:
        with open(os.path.join(folder, name)) as lines:
            count += sum(1 for line in lines if "qu" in line)
""",
    "one.json": """
count = 0
with open({path}) as file:
    while part := file.read(1 << 20):
        count += part.count("qu")
""",
    "": """
with open({path}) as lines:
    count = sum(1 for line in lines if "qu" in line)
""",
}
"""A whole pass in code, by the input's file."""


def pass_of(kind: Kind, path: str) -> str:
    """Write the pass over an input."""
    return PASS.get(kind.file, PASS[""]).format(path=path)


def cells(kind: Kind) -> dict[str, str]:
    """Give the cells of a run, by the name of the step that each is."""
    return {
        "start": "print(1)",
        "grep rare": f"print(grep({NEEDLE!r}))",
        "grep common": f"print(len(grep({kind.common!r}, max_matches=10_000)))",
        "count a word": f"print(grep_count({kind.word!r}))",
        "count common": f"print(grep_count({kind.common!r}))",
        "peek": "half = context_info()['length'] // 2\nprint(len(peek(half, half + 1000)))",
        "cut": "print(len(chunk_ranges(100_000)))",
        "pass in code": pass_of(kind, "context_path") + "print(count)",
    }


def package(kind: Kind, path: Path) -> dict[str, float]:
    """Ask the package about an input: seconds of each step."""
    from langgraph_rlm import Limits, create_rlm
    from langgraph_rlm.testing import ScriptedModel, cell

    value: Any = path.read_text() if kind.name == "a str" else path
    steps, times = cells(kind), list[float]()

    def reply(_: str) -> str:
        times.append(time.perf_counter())
        code = [*steps.values(), "FINAL(1)"][len(times) - 1]
        return cell(code)

    with tempfile.TemporaryDirectory(dir=path.parent, prefix="store-") as store:
        limits = Limits(max_cell_seconds=600)
        model = ScriptedModel(answer=reply)
        rlm = create_rlm(model, blob_store=store, sandbox="python", limits=limits)
        start = time.perf_counter()
        rlm.invoke({"query": "q", "context": value})
        disk = bytes_in(store)
    found = {"first call": times[0] - start}
    found |= {name: times[n + 1] - times[n] for n, name in enumerate(steps)}
    return {**found, "disk": disk}


def ingest(kind: Kind, path: Path) -> dict[str, float]:
    """Store an input, and take its `sha256sum`."""
    from langgraph_rlm.storage.blobs import BlobStore
    from langgraph_rlm.storage.ingest import ingest as stored

    value: Any = path.read_text() if kind.name == "a str" else path
    names = f"find {path} -type f -print0 | sort -z | xargs -0 cat | sha256sum"
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="store-") as store:
        seconds = timed(lambda: stored(value, BlobStore.open(store)))
    return {"ingest": seconds, "sha256sum": timed(lambda: shell(names))}


def plain(kind: Kind, path: Path) -> dict[str, float]:
    """Do the same in plain Python with the whole text in memory, and with ripgrep."""
    text = ""

    def read() -> None:
        nonlocal text
        files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
        text = "\n".join(file.read_text() for file in files)

    def count(pattern: str) -> int:
        return sum(1 for _ in re.finditer(pattern, text))

    found = {
        "first call": timed(read),
        "grep rare": timed(lambda: re.search(NEEDLE, text)),
        "count a word": timed(lambda: text.count(kind.word)),
        "count common": timed(lambda: count(kind.common)),
        "pass in code": timed(lambda: exec(pass_of(kind, repr(str(path))), {})),
    }
    for name, pattern in {"rg rare": NEEDLE, "rg common": kind.common}.items():
        found[name] = timed(lambda p=pattern: shell(f"rg --count-matches -a -e '{p}' {path}"))
    return found


def batch(kind: Kind, path: Path) -> dict[str, float]:
    """Ask 5,000 sub-calls about all of an input: by ranges, with texts, and in a plain loop."""
    from langgraph_rlm.testing import ScriptedModel

    by_range = 'llm_query_batched("What?", ranges=ranges)'
    by_text = 'llm_query_batched(["What?\\n\\n" + peek(r["start"], r["end"]) for r in ranges])'
    found = {**asked("ranges", by_range, path), **asked("texts", by_text, path)}
    text, size = path.read_text(), path.stat().st_size // CALLS

    async def loop() -> None:
        model, slots = ScriptedModel(answer=lambda _: "ok"), asyncio.Semaphore(16)

        async def one(part: str) -> None:
            async with slots:
                await model.ainvoke(part)

        await asyncio.gather(*(one(text[n * size : (n + 1) * size]) for n in range(CALLS)))

    return {**found, "plain loop": timed(lambda: asyncio.run(loop()))}


def asked(name: str, code: str, path: Path) -> dict[str, float]:
    """Time one batch, and measure what it leaves in the store."""
    from langgraph.checkpoint.memory import InMemorySaver

    from langgraph_rlm import Limits, create_rlm
    from langgraph_rlm.testing import ScriptedModel, cell

    times = list[float]()
    size = path.stat().st_size // CALLS + 1
    codes = [f"ranges = chunk_ranges({size})", f"replies = {code}\nprint(len(replies))", "FINAL(1)"]

    def reply(_: str) -> str:
        times.append(time.perf_counter())
        return cell(codes[len(times) - 1])

    with tempfile.TemporaryDirectory(dir=path.parent, prefix="store-") as store:
        rlm = create_rlm(
            ScriptedModel(answer=reply),
            sub_model=ScriptedModel(answer=lambda _: "ok"),
            blob_store=store,
            sandbox="python",
            checkpointer=InMemorySaver(),
            limits=Limits(max_sub_calls=20_000, max_cell_seconds=600, max_heap_bytes=4 << 30),
        )
        rlm.invoke({"query": "q", "context": path}, {"configurable": {"thread_id": "a"}})
        stored = bytes_in(store)
    return {name: times[2] - times[1], f"{name}, store": stored}


def bytes_in(folder: str) -> int:
    """Count the bytes of all files in a folder, of those with several names once."""
    found = [file.stat() for file in Path(folder).rglob("*") if file.is_file()]
    return sum({file.st_ino: file.st_size for file in found}.values())


def timed(step: Callable[[], object]) -> float:
    """Take the seconds of a step."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def shell(command: str) -> None:
    """Run a command; ripgrep ends with 1 where nothing matches."""
    subprocess.run(command, shell=True, stdout=subprocess.DEVNULL, check=False)


def kinds(name: str) -> Iterator[Kind]:
    """Find a kind by its name."""
    return (kind for kind in KINDS if kind.name == name)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    does = {"package": package, "plain": plain, "ingest": ingest, "batch": batch}[sys.argv[1]]
    print(json.dumps(does(next(kinds(sys.argv[2])), Path(sys.argv[3]))))
