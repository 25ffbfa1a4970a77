"""Big: inputs of 1 MB to 1 GB in the package, beside plain Python, ripgrep and `sha256sum`.

    python benchmarks/big.py                    # all: half an hour, 12 GB of disk
    python benchmarks/big.py --mb 1 10 --kinds "a CSV" --work ingest package
    python benchmarks/big.py --json figures.json --chart docs/big.png

Every input is worked on by fresh processes (`big_work.py`). Peak memory is that of all their
processes together: resident bytes less those of files that are mapped into them, whose pages are
the system's cache. Of a folder, `plain` reads all files into one text. The memory of "a str" has
the caller's own str, and what it took to read it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from big_inputs import KINDS, MB, Kind, make

HERE = Path(__file__).parent
WORK = ("ingest", "package", "plain", "batch")
SAMPLE_SECONDS = 0.05
SIZES = (1, 10, 100, 1000)
STEPS = {
    "first call": "to the first root call",
    "start": "start of the sandbox",
    "grep rare": "grep, one match at the end",
    "grep common": "grep, 10,000 matches shown",
    "count a word": "grep_count of a word",
    "count common": "grep_count of a pattern",
    "peek": "peek in the middle",
    "cut": "chunk_ranges",
    "pass in code": "a whole pass in code",
}

Figures = dict[str, dict[str, float]]
"""Of one input: seconds by step, by work; with `peak` in bytes."""


def measured(work: str, kind: Kind, path: Path) -> dict[str, float]:
    """Run one process, and watch the memory of it and of all that it starts."""
    command = [sys.executable, str(HERE / "big_work.py"), work, kind.name, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, is_over = [0], threading.Event()
    watch = threading.Thread(target=_watch, args=(process.pid, peak, is_over))
    watch.start()
    out, _ = process.communicate()
    is_over.set()
    watch.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    return {**json.loads(out), "peak": peak[0]}


def _watch(pid: int, peak: list[int], is_over: threading.Event) -> None:
    while not is_over.wait(SAMPLE_SECONDS):
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            peak[0] = max(peak[0], sum(map(_memory, [root, *root.children(recursive=True)])))


def _memory(process: psutil.Process) -> int:
    """Resident bytes of a process less those of mapped files."""
    try:
        memory = process.memory_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return memory.rss - memory.shared


def table(figures: dict[str, Figures], sizes: Sequence[int]) -> str:
    """Write the figures as tables in Markdown, one for each size."""
    lines: list[str] = []
    for mb in sizes:
        names = [kind.name for kind in KINDS if f"{kind.name} {mb}" in figures]
        of = {name: figures[f"{name} {mb}"] for name in names}
        lines += ["", f"| {mb:,} MB | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        lines += [f"| {label} | {' | '.join(row)} |" for label, row in _rows(of)]
    return "\n".join(lines)


def _rows(of: dict[str, Figures]) -> list[tuple[str, list[str]]]:
    def row(cell: Any) -> list[str]:
        return [cell(figures) for figures in of.values()]

    rows = [("ingest, s (`sha256sum`)", row(lambda f: _pair(f, "ingest", "ingest", "sha256sum")))]
    for step, label in STEPS.items():
        rows.append((f"{label}, s (plain Python)", row(lambda f, s=step: _both(f, s))))
    rows += [
        ("ripgrep: rare, common, s", row(lambda f: _pair(f, "plain", "rg rare", "rg common"))),
        ("peak memory, MB (plain)", row(lambda f: _memories(f))),
        ("disk, MB", row(lambda f: _number(f, "package", "disk", MB))),
    ]
    return rows


def _pair(figures: Figures, work: str, first: str, second: str) -> str:
    found = figures.get(work, {})
    return f"{found[first]:.2f} ({found[second]:.2f})" if first in found else ""


def _both(figures: Figures, step: str) -> str:
    ours, plain = figures.get("package", {}).get(step), figures.get("plain", {}).get(step)
    shown = "" if ours is None else f"{ours:.2f}"
    return shown if plain is None else f"{shown} ({plain:.2f})"


def _memories(figures: Figures) -> str:
    ours, plain = (_number(figures, work, "peak", MB) for work in ("package", "plain"))
    return f"{ours} ({plain})"


def _number(figures: Figures, work: str, name: str, unit: int) -> str:
    found = figures.get(work, {})
    return f"{found[name] / unit:,.0f}" if name in found else ""


def chart(figures: dict[str, Figures], sizes: Sequence[int], to: Path) -> None:
    """Draw seconds and memory over the size of a file, beside plain Python."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [("ingest", "ingest"), ("package", "grep rare"), ("package", "count common")]
    shown += [("package", "pass in code"), ("plain", "count common"), ("plain", "pass in code")]
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for work, step in shown:
        style = "--" if work == "plain" else "-"
        points = [(mb, figures[f"a file {mb}"][work][step]) for mb in sizes]
        label = f"plain Python: {step}" if work == "plain" else step
        left.plot(*zip(*points, strict=True), style, marker="o", label=label)
    for name, style in (("a file", "-"), ("a folder of 10,000 files", "-"), ("a file", "--")):
        work = "plain" if style == "--" else "package"
        points = [(mb, figures[f"{name} {mb}"][work]["peak"] / MB) for mb in sizes]
        label = f"{name}, plain Python" if work == "plain" else name
        right.plot(*zip(*points, strict=True), style, marker="o", label=label)
    left.set(title="Seconds", xlabel="MB of a file", xscale="log", yscale="log")
    right.set(title="Peak memory of all processes, MB", xlabel="MB", xscale="log")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    fig.tight_layout()
    fig.savefig(to, dpi=110)


def options() -> argparse.Namespace:
    """Read the command's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, nargs="+", default=SIZES)
    parser.add_argument("--kinds", nargs="+", default=[kind.name for kind in KINDS])
    parser.add_argument("--work", nargs="+", choices=WORK, default=WORK)
    parser.add_argument("--folder", type=Path, help="where inputs are made and kept")
    parser.add_argument("--json", type=Path, help="takes the figures; those in it stay")
    parser.add_argument("--chart", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, and print tables."""
    given = options()
    figures: dict[str, Figures] = {}
    if given.json and given.json.exists():
        figures = json.loads(given.json.read_text())
    with tempfile.TemporaryDirectory() as temporary:
        root = given.folder or Path(temporary)
        for mb in given.mb:
            for kind in [kind for kind in KINDS if kind.name in given.kinds]:
                of = figures.setdefault(f"{kind.name} {mb}", {})
                path = make(kind, mb, root)
                for work in given.work:
                    if work != "batch" or (kind.name == "a file" and mb == max(given.mb)):
                        began = time.perf_counter()
                        of[work] = measured(work, kind, path)
                        took = time.perf_counter() - began
                        print(f"{kind.name}, {mb} MB, {work}: {took:.1f} s", file=sys.stderr)
            if given.json:
                given.json.write_text(json.dumps(figures, indent=1))
    print(table(figures, given.mb))
    for key, of in figures.items():
        if "batch" in of:
            print(
                f"\n{key} MB, a batch of 5,000:", {n: round(v, 2) for n, v in of["batch"].items()}
            )
    if given.chart:
        chart(figures, given.mb, given.chart)


if __name__ == "__main__":
    main()
