"""Asking: `ask_context` and `read_context`, tools over the contexts of the agent's own thread."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command
from pydantic import BaseModel, Field

from langgraph_rlm.agents.budgets import Budgets
from langgraph_rlm.agents.file_system import FileSystem
from langgraph_rlm.agents.reading import matches_of, part_of
from langgraph_rlm.agents.state import Contexts
from langgraph_rlm.as_tool.results import artifact_of, content_of
from langgraph_rlm.as_tool.runs import CalledRun, Graph, Outcome
from langgraph_rlm.errors import ContextError, shown
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.runtime.run import RunOptions
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, HandleDict
from langgraph_rlm.storage.inputs import Stored, by_reference

ASK, READ = "ask_context", "read_context"

SHOWN_NAMES = 50
"""Most names of contexts that an error tells."""

Runtime = ToolRuntime[Any, Any]


class AskArguments(BaseModel):
    """What `ask_context` takes."""

    question: str = Field(description="A whole question, and the form of the answer.")
    names: list[str] = Field(default=[], description="Names of the contexts; all if left out.")


class AskFilesArguments(AskArguments):
    """What `ask_context` takes where the agent has files."""

    names: list[str] = Field(
        default=[],
        description="Names of contexts, and paths of files and folders, such as /notes/; all "
        "contexts if left out.",
    )


class ReadArguments(BaseModel):
    """What `read_context` takes."""

    name: str = Field(description="Name of the context.")
    start: int = Field(default=0, description="First character; negative counts from the end.")
    end: int | None = Field(default=None, description="Character after the last.")
    pattern: str = Field(
        default="", description="RE2 pattern: gives the lines that match, from `start` on."
    )
    ignore_case: bool = Field(default=False, description="Of the pattern.")


@dataclass(frozen=True)
class Asker:
    """The tools of one middleware."""

    rlm: RLMGraph
    budgets: Budgets
    files: FileSystem | None

    @property
    def tools(self) -> list[BaseTool]:
        """Make them."""
        return [self._ask_tool(), self._read_tool()]

    def _ask_tool(self) -> BaseTool:
        def ask_context(runtime: Runtime, config: RunnableConfig, **arguments: Any) -> Any:
            graph, config = self.rlm.in_sync_use(config)
            return wait_for(lambda: self.ask(graph, runtime, config, AskArguments(**arguments)))

        async def aask_context(runtime: Runtime, config: RunnableConfig, **arguments: Any) -> Any:
            return await self.ask(self.rlm, runtime, config, AskArguments(**arguments))

        return StructuredTool.from_function(
            ask_context,
            aask_context,
            name=ASK,
            description=(
                "Asks a question about texts that are too long for you: contexts, which notes in "
                "the conversation name. A model reads all of them with code, whatever their size, "
                "and gives you the answer."
            ),
            args_schema=AskArguments if self.files is None else AskFilesArguments,
        )

    def _read_tool(self) -> BaseTool:
        def read_context(runtime: Runtime, **arguments: Any) -> Any:
            return self.read(runtime, ReadArguments(**arguments))

        return StructuredTool.from_function(
            read_context,
            name=READ,
            description=(
                "Shows a part of a context: the characters from `start` to `end`, or with "
                "`pattern` the lines that match. For a question about the whole, use ask_context."
            ),
            args_schema=ReadArguments,
        )

    async def ask(
        self, graph: Graph, runtime: Runtime, config: RunnableConfig, given: AskArguments
    ) -> Any:
        """Ask the RLM, and give the update of the agent's state."""
        usage = runtime.state.get("rlm_usage")
        ledger = self.budgets.ledger(runtime, usage)
        if limit := self.budgets.reached(ledger):
            return _refused(
                runtime,
                ASK,
                f"{limit}: nothing more can be asked about contexts in this conversation. "
                f"{READ} still shows parts of them.",
            )
        run = CalledRun(graph, config, ASK, runtime.tool_call_id or "")

        async def prepare() -> Stored:
            return await asyncio.to_thread(self._input, contexts_of(runtime.state), given)

        async with run.keeps_blobs():
            try:
                outcome = await run.outcome(prepare, RunOptions(budget=ledger))
            except ContextError as error:
                return _refused(runtime, ASK, str(error))
        return _answered(runtime, outcome)

    def read(self, runtime: Runtime, given: ReadArguments) -> Any:
        """Show a part of a context. Blocks."""
        blobs = self.rlm.rlm.blobs
        try:
            [found] = chosen(contexts_of(runtime.state), [given.name])
            handle = ContextHandle.from_dict(found)
            if not given.pattern:
                return part_of(given.name, handle, blobs, given.start, given.end)
            first, _, _ = slice(given.start, None).indices(handle.length)
            return matches_of(
                given.name,
                handle,
                blobs,
                given.pattern,
                start=first,
                ignore_case=given.ignore_case,
            )
        except (ContextError, ValueError) as error:
            return _refused(runtime, READ, str(error))

    def _input(self, contexts: Contexts, given: AskArguments) -> Stored:
        """Make the input of a run. Blocks. Raises `ContextError` as the model has to read it."""
        blobs = self.rlm.rlm.blobs
        paths = [name for name in given.names if self.files is not None and name.startswith("/")]
        names = [name for name in given.names if name not in paths]
        handles: list[HandleDict] = []
        if self.files is not None and paths:
            handles += self.files.contexts(paths, blobs)
        if names or not paths:
            handles += chosen(contexts, names or [*contexts])
        return question_about(given.question, handles, blobs)


def question_about(question: str, handles: Sequence[HandleDict], blobs: BlobStore) -> Stored:
    """Make the input of a run of a question and contexts that are stored already. Blocks.

    Raises:
        ContextError: the question is empty.
    """
    stored = by_reference({"query": question}, blobs)
    stored["context"]["rlm_handles"] += handles
    return Stored(stored)


def contexts_of(state: Any) -> Contexts:
    """Give the contexts of an agent's thread: what its own state has, and nothing else."""
    return cast("Mapping[str, Any]", state).get("rlm_contexts") or {}


def chosen(contexts: Contexts, names: Sequence[str]) -> list[HandleDict]:
    """Give the contexts of some names, each once.

    Raises:
        ContextError: there is none of that name, or none at all.
    """
    known = ", ".join([*contexts][-SHOWN_NAMES:]) or "none yet"
    for name in names:
        if name not in contexts:
            raise ContextError(f"There is no context {shown(name)}. There are: {known}.")
    if not names:
        raise ContextError(
            "There are no contexts yet: whatever was said or found so far is in the conversation."
        )
    return [contexts[name] for name in dict.fromkeys(names)]


def _answered(runtime: Runtime, outcome: Outcome) -> "Command[Any]":
    message = ToolMessage(
        content_of(outcome, shows_thread=False),
        name=ASK,
        tool_call_id=runtime.tool_call_id or "",
        artifact=artifact_of(outcome),
    )
    return Command(update={"messages": [message], "rlm_usage": outcome.values["usage"]})


def _refused(runtime: Runtime, name: str, why: str) -> ToolMessage:
    """Tell the agent's model what it got wrong."""
    return ToolMessage(why, name=name, tool_call_id=runtime.tool_call_id or "", status="error")
