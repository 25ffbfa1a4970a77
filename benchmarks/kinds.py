"""Kinds of files: makes one of each, ingests it, and prints what reads it, how fast, what is kept.

    python benchmarks/kinds.py

Seconds are of one whole ingest of that file alone, with a worker process of its own, and of the
same file again, which no worker reads.
"""

import gzip
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from langgraph_rlm.documents.kinds import Kind, kind_of
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, Facts, facts_of, manifest
from langgraph_rlm.storage.ingest import ingest
from tests.documents import hostile, office, papers

TOOLS = {
    "library": "kreuzberg",
    "mail": "email (stdlib)",
    "mailbox": "email (stdlib)",
    "notebook": "json (stdlib)",
    "archive": "zipfile, tarfile, gzip, ...",
    "picture": "its header",
    "none": "its first bytes",
}
LINE = "Clause {} of the contract: AT&T pays <5> percent of the price on the last day of month {}."


def large_files() -> dict[str, bytes]:
    """Files of a usual size: 50 pages, 40,000 cells, 2,000 paragraphs."""
    pages = ["\n".join(LINE.format(page, line) for line in range(40)) for page in range(50)]
    paragraphs = [LINE.format(n, n) for n in range(2000)]
    rows = [[f"item {n}", n * 1.5, "AT&T", n] for n in range(10_000)]
    return {
        "large.pdf": papers.pdf(*pages),
        "large.docx": office.docx(*paragraphs),
        "large.xlsx": office.xlsx({"Costs": rows}),
        "large.mbox": papers.mbox(*[papers.eml(f"Mail {n}", LINE) for n in range(1000)]),
        "large.log.gz": gzip.compress("\n".join(paragraphs * 100).encode()),
    }


def seconds_of(path: Path, store: BlobStore) -> tuple[float, ContextHandle]:
    """Ingest a file."""
    start = time.perf_counter()
    handle = ingest(path, store)
    return time.perf_counter() - start, handle


def kept(handle: ContextHandle, facts: Facts, store: BlobStore) -> str:
    """Say what is known of a file beside its text."""
    shown = {key: facts[key] for key in facts if key not in ("original", "type", "bytes")}
    if handle.index:
        shown["files"] = [name for name, _, _ in manifest(handle, store)][:3]
    if facts:
        shown["original"] = "kept"
    return ", ".join(f"{key} {value}" for key, value in shown.items())


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        print("| file | bytes | read by | first s | again s | chars | kept |")
        print("|---|---|---|---|---|---|---|")
        for name, data in {**hostile.whole_files(), **large_files()}.items():
            path = Path(folder, name)
            path.write_bytes(data)
            store = BlobStore.open(Path(folder, "blobs"))
            first, handle = seconds_of(path, store)
            again, _ = seconds_of(path, store)
            facts = facts_of(handle, store).get(name, {})
            tool = _tool(kind_of(data[:65536], data[-262144:], name))
            about = kept(handle, facts, store)
            print(
                f"| {name} | {len(data):,} | {tool} | {first:.3f} | {again:.3f} "
                f"| {handle.length:,} | {about} |"
            )


def _tool(kind: Kind | None) -> str:
    return TOOLS[kind.reader] if kind else "as it is"


if __name__ == "__main__":
    main()
