"""JSONL: a trace as lines of JSON: each record, and after them each text that they refer to."""

from collections.abc import Iterator

from langgraph_rlm.trace.enclosed import contexts_in, texts_in
from langgraph_rlm.trace.reading import Trace
from langgraph_rlm.trace.records import TextRecord
from langgraph_rlm.trace.texts import dumps


def jsonl_lines(trace: Trace, *, contexts: bool = True) -> Iterator[str]:
    """Give the lines of a trace, without their ends. Blocks: it reads the blob store.

    Args:
        trace: what to write.
        contexts: False leaves the texts of contexts out.
    """
    for record in trace.records:
        yield dumps(record)
    written: set[str] = set()
    for digest, text in texts_in(trace):
        written.add(digest)
        yield _line(digest, text)
    for digest, text in contexts_in(trace) if contexts else ():
        if digest not in written:
            yield _line(digest, text)


def _line(digest: str, text: str) -> str:
    return dumps(TextRecord(type="text", digest=digest, text=text))
