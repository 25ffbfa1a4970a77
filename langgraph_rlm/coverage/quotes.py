"""Quotes: whether what an answer quotes stands in its contexts, and where. Asks no model."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from langgraph_rlm.coverage.evidence import contexts_in
from langgraph_rlm.coverage.quote_marks import Marked, quotes_in
from langgraph_rlm.coverage.quote_search import Search, Stands
from langgraph_rlm.coverage.quote_sources import QuoteSource, handle_source, text_source
from langgraph_rlm.errors import ConfigurationError, InputError
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import MEDIA, ContextHandle

Status = Literal["exact", "near", "not_found"]

Contexts = str | ContextHandle | Mapping[str, "str | ContextHandle"] | tuple[Any, Any]
"""What quotes may be of: a text, a stored context, several by name, or a graph and the config of a
thread, for the thread's own."""


@dataclass(frozen=True)
class Quote:
    """A quote of an answer, and where it stands."""

    text: str
    """As the answer has it, without its marks."""
    answer_start: int
    """Its first character in the answer."""
    answer_end: int
    status: Status
    """`exact`: it stands there, up to white space, the forms of quotation marks and dashes, and
    what dots leave out. `near`: something close stands there, which is not the same. `not_found`:
    neither, as far as was looked."""
    similarity: float
    """1 for exact; else how close the closest place found comes, from 0."""
    context: str | None = None
    """The name of the context; None where it was not found."""
    digest: str | None = None
    """Of a stored context."""
    start: int | None = None
    """Its first byte in the stored text."""
    end: int | None = None
    start_char: int | None = None
    """Its first character in the stored text, as `peek` takes it."""
    end_char: int | None = None
    parts: tuple[tuple[int, int], ...] = ()
    """The bytes of each part, where dots leave something out."""
    path: str | None = None
    """Its file, in a context of several."""
    page: int | None = None
    """Its page, in a document whose text has marks such as `[page 3 of a.pdf]`."""


def verify_quotes(
    answer: str, contexts: Contexts, *, blob_store: str | Path | BlobStore | None = None
) -> list[Quote]:
    """Check what an answer quotes against its contexts.

        for quote in verify_quotes(out["answer"], (rlm, config)):
            print(quote.status, quote.page, quote.text)

    Quotes are texts of three words or more between quotation marks (“...”, "...", «...», „...“),
    and Markdown's block quotes; at most 200 of them, of 5,000 characters each.

    Args:
        answer: the text that quotes.
        contexts: a text; a `ContextHandle`; a dict of these by name; or `(graph, config)` for the
            contexts of a thread.
        blob_store: where stored contexts are; None for the graph's store, else the default one.

    Returns:
        A `Quote` for each, in the order of the answer.

    Raises:
        InputError: `contexts` is something else.
        ConfigurationError: the graph has no thread of an RLM by that config.
        BlobError: a context is missing or altered.
    """
    if isinstance(contexts, tuple):
        graph, config = contexts
        return _verified(answer, *_of_thread(graph, graph.get_state(config).values, blob_store))
    return _verified(answer, *_given(contexts, blob_store))


async def averify_quotes(
    answer: str, contexts: Contexts, *, blob_store: str | Path | BlobStore | None = None
) -> list[Quote]:
    """Do what `verify_quotes` does, in async code, without holding up the event loop."""
    if isinstance(contexts, tuple):
        graph, config = contexts
        state = await graph.aget_state(config)
        given = _of_thread(graph, state.values, blob_store)
    else:
        given = _given(contexts, blob_store)
    return await asyncio.to_thread(_verified, answer, *given)


Named = Mapping[str, str | ContextHandle]


def _of_thread(
    graph: Any, values: Mapping[str, Any], where: str | Path | BlobStore | None
) -> tuple[Named, BlobStore]:
    if "log" not in values:
        raise ConfigurationError(
            "verify_quotes: there is no thread of an RLM by that config: give the graph that "
            "create_rlm made, with its checkpointer, and the thread's thread_id."
        )
    store = graph.rlm.blobs if where is None else BlobStore.open(where)
    return contexts_in(values["log"]), store


def _given(
    contexts: "str | ContextHandle | Named", where: str | Path | BlobStore | None
) -> tuple[Named, BlobStore]:
    named: Any = contexts if isinstance(contexts, Mapping) else {"context": contexts}
    for name, context in named.items():
        if not isinstance(context, str | ContextHandle):
            kind = type(context).__name__
            raise InputError(
                f"verify_quotes: the context {name!r} is a {kind}; it must be a str or a "
                "ContextHandle. For the contexts of a thread give (graph, config)."
            )
    return cast(Named, named), BlobStore.open(where)


def _verified(answer: str, contexts: Named, blobs: BlobStore) -> list[Quote]:
    marked = quotes_in(answer)
    search = Search([each.text for each in marked])
    sources = [*_sources(contexts, blobs)]
    for source in sources:
        search.look_in(source)
    if search.has_open:
        search.look_near(sources)
    return [_quote(each, search.found[index]) for index, each in enumerate(marked)]


def _sources(contexts: Named, blobs: BlobStore) -> Iterator[QuoteSource]:
    for name, context in contexts.items():
        if isinstance(context, str):
            yield text_source(name, context)
        elif context.kind not in MEDIA and context.size:
            yield handle_source(name, context, blobs)


def _quote(marked: Marked, stands: Stands | None) -> Quote:
    quote = Quote(marked.text, marked.start, marked.end, "not_found", 0.0)
    if stands is None:
        return quote
    quote = replace(quote, similarity=stands.similarity)
    if not stands.counts:
        return quote
    spans: Sequence[tuple[int, int]] = stands.spans
    start, end = spans[0][0], spans[-1][1]
    source = stands.source
    path, page = source.whereabouts(start)
    start_char, end_char = source.characters(start, end)
    return replace(
        quote,
        status="exact" if stands.is_exact else "near",
        context=source.name,
        digest=source.digest,
        start=start,
        end=end,
        start_char=start_char,
        end_char=end_char,
        parts=tuple(spans),
        path=path,
        page=page,
    )
