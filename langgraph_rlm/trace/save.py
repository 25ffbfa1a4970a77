"""Save: a trace as a file: a page, or lines of JSON."""

import asyncio
import gzip
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.history.homes import in_sync_use
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.trace.enclosed import page_pictures, page_texts
from langgraph_rlm.trace.html import page_of
from langgraph_rlm.trace.jsonl import jsonl_lines
from langgraph_rlm.trace.reading import Trace, atrace_of


def save_trace(
    graph: Any,
    config: RunnableConfig,
    path: str | Path,
    *,
    contexts: bool = True,
    blob_store: str | Path | BlobStore | None = None,
) -> None:
    """Do what `asave_trace` does, from sync code."""
    own = in_sync_use(graph)
    wait_for(lambda: asave_trace(own, config, path, contexts=contexts, blob_store=blob_store))


async def asave_trace(
    graph: Any,
    config: RunnableConfig,
    path: str | Path,
    *,
    contexts: bool = True,
    blob_store: str | Path | BlobStore | None = None,
) -> None:
    """Write a thread's run, children included, to one file for people or for machines.

    The file holds prompts, replies and, unless they are left out, contexts.

    Args:
        graph: see `atrace_of`.
        config: see `atrace_of`.
        path: ends in `.html` for a page that any browser opens, without a network; in `.jsonl` or
            `.jsonl.gz` for lines of JSON, as `docs/trace.md` describes them.
        contexts: False leaves the texts of contexts out. A page has them up to 8 MB.
        blob_store: see `atrace_of`.

    Raises:
        ConfigurationError: the path has another ending, or there is no such thread.
        OSError: the file cannot be written.
    """
    target = Path(path)
    if not target.name.endswith((".html", ".jsonl", ".jsonl.gz")):
        raise ConfigurationError(
            f"path={str(path)!r} must end in .html for a page, or in .jsonl or .jsonl.gz for lines "
            "of JSON."
        )
    trace = await atrace_of(graph, config, blob_store=blob_store)
    await asyncio.to_thread(_save, trace, target, contexts)


def _save(trace: Trace, path: Path, contexts: bool) -> None:
    if path.suffix == ".html":
        path.write_text(html_of([trace], contexts=contexts), encoding="utf-8")
    else:
        write_lines(jsonl_lines(trace, contexts=contexts), path)


def html_of(traces: Sequence[Trace], *, contexts: bool = True) -> str:
    """Make the page of a trace, or of two to compare. Blocks: it reads the blob store."""
    pictures = {
        digest: picture for trace in traces for digest, picture in page_pictures(trace).items()
    }
    return page_of(
        {"mode": "static", "traces": [{"records": trace.records} for trace in traces]},
        [page_texts(trace, contexts=contexts) for trace in traces],
        pictures,
    )


def write_lines(lines: Iterable[str], path: Path) -> None:
    """Write lines to a file, gzipped if its name ends in `.gz`."""
    with _opened(path) as file:
        file.writelines(f"{line}\n" for line in lines)


def _opened(path: Path) -> AbstractContextManager[TextIO]:
    if path.suffix == ".gz":
        return gzip.open(path, "wt", encoding="utf-8", newline="\n")
    return path.open("w", encoding="utf-8", newline="\n")
