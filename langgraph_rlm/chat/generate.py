"""Generate: LangChain's four ways to ask a chat model, each answered by `answer_call`."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig

from langgraph_rlm.chat.answer_call import answer_call
from langgraph_rlm.chat.calls import Call, Resumed
from langgraph_rlm.chat.retries import PausingChatModel
from langgraph_rlm.pregel.sync import iterate


class GeneratingChatModel(PausingChatModel):
    """A chat model that makes a `Call` of whatever it is asked."""

    @abstractmethod
    def _call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: Any,
        options: dict[str, Any],
        *,
        is_sync: bool,
    ) -> Call:
        """Make the call.

        Args:
            messages: the chat.
            stop: stop sequences of the call.
            run_manager: LangChain's, where there is one.
            options: of the call.
            is_sync: whether the caller's thread waits for the answer.
        """

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, run_manager, kwargs, is_sync=True)
        call = replace(call, is_streamed=False)
        return _result([*iterate(partial(answer_call, call))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, run_manager, kwargs, is_sync=False)
        call = replace(call, is_streamed=False)
        async with aclosing(answer_call(call)) as chunks:
            return _result([chunk async for chunk in chunks])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, run_manager, kwargs, is_sync=True)
        for chunk in iterate(partial(answer_call, call)):
            yield self._generation(chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self._call(messages, stop, run_manager, kwargs, is_sync=False)
        async with aclosing(answer_call(call)) as chunks:
            async for chunk in chunks:
                yield self._generation(chunk)

    # Approvals outside a graph

    def resume(
        self, run: str, answer: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        """Continue a run that waits for a human. `ApprovalNeededError` says which.

        Args:
            run: the error's `run`.
            answer: `{"decisions": [...]}` with a decision for each action of the error's `request`;
                for a single action also the decision alone.
            config: for this call.
            kwargs: whatever a call takes.

        Raises:
            ResumeError: the answer has the wrong form; the run still waits.
            UnknownToolCallError: there is no such run here.
            ApprovalNeededError: the run needs another decision.
        """
        return self.invoke([], config, resume_run=Resumed(run, answer), **kwargs)

    async def aresume(
        self, run: str, answer: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        """Do what `resume` does, async."""
        return await self.ainvoke([], config, resume_run=Resumed(run, answer), **kwargs)

    def _generation(self, chunk: AIMessageChunk) -> ChatGenerationChunk:
        """Wrap a chunk for LangChain.

        Version 1 of LangChain's output merges blocks by their index alone, and gives reasoning 0
        and text 1: tool calls get an index after those.
        """
        if self.output_version == "v1" and chunk.tool_call_chunks:
            moved = [{**call, "index": (call["index"] or 0) + 2} for call in chunk.tool_call_chunks]
            chunk = chunk.model_copy(update={"tool_call_chunks": moved})
        return ChatGenerationChunk(message=chunk)


def _result(chunks: list[AIMessageChunk]) -> ChatResult:
    whole, *rest = chunks
    for chunk in rest:
        whole = whole + chunk
    message = message_chunk_to_message(whole)
    return ChatResult(generations=[ChatGeneration(message=message)])
