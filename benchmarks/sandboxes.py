"""Sandboxes side by side: what starting, a cell, a call and a context cost, and nested RLMs.

    python benchmarks/sandboxes.py [--rounds 5] [--width 10]

The sandboxes take turns in each round, so that a busy machine slows all of them; the figures are
medians in milliseconds, with the ratio to Monty's in the same run.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime

from tasks import nested_model

from langgraph_rlm import create_rlm
from langgraph_rlm.repl.base import Backend, Finished, Returned, Session, SessionSpec, Suspended
from langgraph_rlm.repl.local import LocalBackend
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.repl.python import PythonBackend

SPARE_SECONDS = 1.5
"""How long a spare is given to get ready."""
CELLS = 50
LEVELS = 3
MB = 1_000_000

BACKENDS: dict[str, Callable[[], Backend]] = {
    "monty": MontyBackend,
    "local": LocalBackend,
    "python": lambda: PythonBackend(spares=0),
    "python, with a spare": PythonBackend,
}


def spec_of(mb: int) -> SessionSpec:
    """What a session starts from, with a context of so many MB."""
    text = "x" * (mb * MB)
    functions, values = frozenset({"llm_query"}), {"context": lambda: text}
    return SessionSpec(functions, values, datetime(2026, 1, 2, tzinfo=UTC), "seed", 1 << 30)


def milliseconds(step: Callable[[], object], times: int = 1) -> float:
    """How long one of so many steps takes."""
    began = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - began) * 1000 / times


def costs_of(backend: Backend) -> dict[str, float]:
    """Measure one session of each kind, in milliseconds."""
    small, opened = spec_of(0), list[Session]()
    found = {"start": milliseconds(lambda: opened.append(backend.open(small)))}
    session = opened[0]
    found["first cell"] = milliseconds(lambda: session.feed("x = 1"))
    found["cell"] = milliseconds(lambda: session.feed("x += 1"), CELLS)
    pending = session.feed("while True: llm_query('a')")
    assert isinstance(pending, Suspended)
    found["exchange"] = milliseconds(lambda: session.resume(Returned("b")), CELLS)
    session.close()
    for mb in (10, 100):
        session = backend.open(spec_of(mb))
        began = time.perf_counter()
        read(session)
        found[f"context of {mb} MB"] = (time.perf_counter() - began) * 1000
        session.close()
    return found


def read(session: Session) -> None:
    """Let code read its context."""
    outcome = session.feed("len(context)")
    assert isinstance(outcome, Finished)
    assert outcome.error is None, outcome.error


def nested(backend: Backend, width: int) -> float:
    """Seconds of a run that asks so many RLMs, each of which asks as many, each as many again."""
    limits = {"max_depth": LEVELS + 1, "max_sub_calls": 10_000}
    rlm = create_rlm(nested_model(width, LEVELS), sandbox=backend, limits=limits)
    began = time.perf_counter()
    out = rlm.invoke({"query": "LEVEL-0"})
    seconds = time.perf_counter() - began
    assert out["answer"] == str(width**LEVELS), out["answer"]
    return seconds


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=10, help="of the nested RLMs; 0 for none")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in BACKENDS}
    backends = {name: make() for name, make in BACKENDS.items()}
    for _ in range(args.rounds):
        for name, backend in backends.items():
            backend.open(spec_of(0)).close()
            time.sleep(SPARE_SECONDS if "spare" in name else 0)
            rows[name].append(costs_of(backend))
            backend.release_idle()
    table(rows)
    for name, backend in backends.items():
        if args.width:
            seconds = nested(backend, args.width)
            print(f"{args.width}^{LEVELS} nested RLMs, {name}: {seconds:.1f} s", flush=True)
        backend.close()


def table(rows: dict[str, list[dict[str, float]]]) -> None:
    """Print medians, and ratios to the first sandbox."""
    first = next(iter(rows.values()))
    base = {what: statistics.median(each[what] for each in first) for what in first[0]}
    for what, reference in base.items():
        print(what)
        for name, each in rows.items():
            value = statistics.median(one[what] for one in each)
            print(f"  {name:22} {value:10.3f} ms {value / reference:8.1f}x")


if __name__ == "__main__":
    main()
