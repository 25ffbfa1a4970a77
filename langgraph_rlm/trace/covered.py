"""Covered: the records of what of its contexts a run has covered."""

from collections.abc import Sequence
from typing import Any

from langgraph_rlm.coverage.quotes import Contexts, Quote, verify_quotes
from langgraph_rlm.coverage.tree import coverage_of
from langgraph_rlm.errors import BlobError
from langgraph_rlm.history.run_tree import RLMTree
from langgraph_rlm.log.places import AnyLog, handles_of, questions_of
from langgraph_rlm.repl.base import capacity_of
from langgraph_rlm.repl.host import is_loaded
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import MEDIA, ContextHandle
from langgraph_rlm.trace.records import CoverageRecord, QuoteSpan
from langgraph_rlm.trace.scope import known

MOST_QUOTED_BYTES = 256 << 20
"""Most bytes of contexts that the quotes of an answer are looked for in."""


def coverage_records(
    root: RLMTree, blobs: BlobStore, rlm: RLMRuntime | None
) -> list[CoverageRecord]:
    """Give a record for each context of a root that has text. Blocks, for long contexts seconds.

    Args:
        root: the root.
        blobs: has its texts.
        rlm: its runtime, where it is known: it says which contexts were bound as variables.

    Returns:
        Nothing where a text is gone, since what was seen of the contexts is then not known.
    """
    output_chars = None if rlm is None else rlm.output_chars
    bound = None if rlm is None else _bound(rlm)
    try:
        found = coverage_of(root, blobs, output_chars=output_chars, is_loaded=bound)
    except BlobError:
        return []
    return [
        CoverageRecord(type="coverage", id=f"coverage:{number}", rlm=root.rlm_id, **each)
        for number, each in enumerate(found)
    ]


def shares_in(records: Sequence[CoverageRecord]) -> dict[str, float | None] | None:
    """Give the share of each context that models have seen, by its name; None without any."""
    return {record["name"]: record["seen_share"] for record in records} or None


def quotes_of(root: RLMTree, blobs: BlobStore) -> list[QuoteSpan] | None:
    """Check the quotes of a root's answer against its contexts. Blocks, for long ones seconds.

    Returns:
        None where there are none, or where it is not known: the contexts are larger than
        `MOST_QUOTED_BYTES`, or gone.
    """
    handles = handles_of(questions_of(root.log))
    texts = {handle.digest: (name, handle) for name, handle in reversed(handles.items())}
    contexts: Contexts = {
        name: handle for name, handle in texts.values() if handle.kind not in MEDIA
    }
    size = sum(handle.size for _, handle in texts.values())
    if not root.answer or not contexts or size > MOST_QUOTED_BYTES:
        return None
    try:
        quotes = verify_quotes(root.answer, contexts, blob_store=blobs)
    except BlobError:
        return None
    return [_span(quote) for quote in quotes] or None


def _span(quote: Quote) -> QuoteSpan:
    where = known(
        context=quote.context,
        digest=quote.digest,
        start=quote.start,
        end=quote.end,
        path=quote.path,
        page=quote.page,
    )
    return QuoteSpan(
        text=quote.text,
        answer_start=quote.answer_start,
        answer_end=quote.answer_end,
        status=quote.status,
        similarity=round(quote.similarity, 3),
        **where,
    )


def _bound(rlm: RLMRuntime) -> Any:
    """Tell which contexts code has as variables."""

    def is_bound(depth: int, log: AnyLog, handle: ContextHandle) -> bool:
        return is_loaded(handle, rlm.limits_in(log), capacity_of(rlm.sandbox(log)))

    return is_bound
