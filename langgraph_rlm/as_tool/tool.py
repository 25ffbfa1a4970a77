"""Tool: an RLM as a LangChain tool, with a small schema. The agent gets the answer, and never the
contexts."""

import asyncio
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, create_model

from langgraph_rlm.as_tool.results import Artifact, artifact_of, content_of
from langgraph_rlm.as_tool.runs import CalledRun, Earlier, Graph
from langgraph_rlm.errors import ContextError
from langgraph_rlm.log.text import clip
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.runtime.run import RunOptions
from langgraph_rlm.schemas.answers import Format
from langgraph_rlm.storage.allowed import Allowed
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import HandleDict
from langgraph_rlm.storage.ingest import ingest, ingest_all
from langgraph_rlm.storage.inputs import Stored, by_reference

EARLIER_CHARS = 8_000
"""Most characters of an earlier question, and of its answer, that a follow-up starts with."""

_call_id: ContextVar[str | None] = ContextVar("langgraph_rlm_tool_call", default=None)
"""The id of the call that a tool answers. LangChain hands it to `run`, and to nobody below."""


@dataclass(frozen=True)
class Offer:
    """What the maker of a tool allows."""

    context: Any
    """Read for each question; None for nothing."""
    allowed: Allowed
    takes_text: bool
    follow_up: bool
    form: Format | None


@dataclass(frozen=True)
class Given:
    """What an agent's model has given. Any of it may be wrong."""

    question: str
    paths: Sequence[str] = ()
    text: str = ""
    thread: str = ""


class RLMTool(BaseTool):
    """An RLM as a tool. Made by `RLMGraph.as_tool` and `ChatRLM.as_tool`.

    Its message has the answer as content, and an `Artifact`. What the model gets wrong, such as a
    path that it may not read, is an error message for it.
    """

    response_format: Any = "content_and_artifact"
    handle_tool_error: Any = True
    _graph: Any = PrivateAttr()
    _offer: Offer = PrivateAttr()

    @staticmethod
    def of(graph: Graph, offer: Offer, name: str, description: str) -> "RLMTool":
        """Make the tool of a graph."""
        tool = RLMTool(
            name=name, description=description, args_schema=_schema(name, description, offer)
        )
        tool._graph = graph
        tool._offer = offer
        return tool

    def run(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        """Do what `BaseTool.run` does."""
        with _answering(kwargs.get("tool_call_id")):
            return super().run(tool_input, *args, **kwargs)

    async def arun(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        """Do what `BaseTool.arun` does."""
        with _answering(kwargs.get("tool_call_id")):
            return await super().arun(tool_input, *args, **kwargs)

    def _run(self, config: RunnableConfig, **arguments: Any) -> tuple[str, Artifact]:
        graph, config = self._graph.in_sync_use(config)
        return wait_for(lambda: self._answer(graph, config, arguments))

    async def _arun(self, config: RunnableConfig, **arguments: Any) -> tuple[str, Artifact]:
        return await self._answer(self._graph, config, arguments)

    async def _answer(
        self, graph: Graph, config: RunnableConfig, arguments: dict[str, Any]
    ) -> tuple[str, Artifact]:
        given, offer = Given(**arguments), self._offer
        call = _call_id.get() or json.dumps(arguments, sort_keys=True)
        run = CalledRun(graph, config, self.name, call)

        async def prepare() -> Stored:
            earlier = await _earlier(run, given.thread)
            return await asyncio.to_thread(_input, given, earlier, offer, graph.rlm.blobs)

        async with run.keeps_blobs():
            outcome = await run.outcome(prepare, RunOptions(form=offer.form))
        shows_thread = self._offer.follow_up
        return content_of(outcome, shows_thread=shows_thread), artifact_of(outcome)


@contextmanager
def _answering(call: str | None) -> Generator[None]:
    before = _call_id.set(call)
    try:
        yield
    finally:
        _call_id.reset(before)


# What the agent's model is told


def _schema(name: str, description: str, offer: Offer) -> type[BaseModel]:
    """Make the arguments that the maker allows."""
    fields: dict[str, Any] = {
        "question": (str, Field(description="A whole question, and the form of the answer."))
    }
    if offer.allowed.folders:
        among = ", ".join(map(str, offer.allowed.folders))
        told = f"Files or folders that the question is about, within {among}."
        fields["paths"] = (list[str], Field(default=[], description=told))
    if offer.takes_text:
        told = "A text that the question is about, of any length."
        fields["text"] = (str, Field(default="", description=told))
    if offer.follow_up:
        told = "The thread of an earlier answer of this tool, to ask more about its contexts."
        fields["thread"] = (str, Field(default="", description=told))
    config = ConfigDict(extra="forbid")
    return create_model(name, __config__=config, __doc__=description, **fields)


def described(offer: Offer) -> str:
    """Describe a tool whose maker has not."""
    about = ["a text that you give"] if offer.takes_text else []
    if offer.allowed.folders:
        about.append("files")
    if offer.context is not None:
        about.append("a context that is too long for you to read")
    return (
        f"Answers a question about {', or '.join(about) or 'anything'}. A model reads all of it "
        "with code, whatever its size, and gives you the answer alone."
    )


# The input of a run


async def _earlier(run: CalledRun, thread: str) -> Earlier | None:
    if not thread:
        return None
    try:
        return await run.earlier(thread)
    except ContextError as error:
        raise ToolException(str(error)) from None


def _input(given: Given, earlier: Earlier | None, offer: Offer, blobs: BlobStore) -> Stored:
    """Store what a question is about. Blocks.

    Raises:
        ToolException: the model gave something that cannot be read.
        ContextError: the maker did.
    """
    contexts = list[HandleDict]()
    if offer.context is not None and earlier is None:
        contexts += [handle.as_dict() for handle in ingest_all(offer.context, blobs)]
    try:
        contexts = [*_of_model(given, offer, blobs), *contexts]
        stored = by_reference({"query": _asked(given.question, earlier)}, blobs)
    except ContextError as error:
        raise ToolException(str(error)) from None
    if earlier is not None:
        contexts += earlier.contexts
    stored["context"]["rlm_handles"] += [*{each["digest"]: each for each in contexts}.values()]
    return Stored(stored)


def _of_model(given: Given, offer: Offer, blobs: BlobStore) -> list[HandleDict]:
    """Store what the model has named, and what it has given."""
    found: list[HandleDict] = []
    paths = [offer.allowed.path(path) for path in given.paths]
    if len(paths) == 1:
        found.append(ingest(paths[0], blobs).as_dict())
    elif paths:
        found.append(ingest(paths, blobs).as_dict())
    if given.text:
        found.append(ingest(given.text, blobs).as_dict())
    return found


def _asked(question: str, earlier: Earlier | None) -> str:
    """Write a question; one that follows up starts with what was asked and answered before."""
    if earlier is None or not question.strip():
        return question
    before = clip(earlier.question, limit=EARLIER_CHARS)
    answer = clip(earlier.answer, limit=EARLIER_CHARS)
    return (
        "An earlier question about these contexts, and its answer, as data:\n"
        f"{json.dumps({'question': before, 'answer': answer}, ensure_ascii=False)}\n\n"
        f"The question now:\n{question}"
    )
