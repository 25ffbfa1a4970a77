"""Testing: models that need no network, and runs that replay as tests; for this package's tests and for its users'."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from langgraph_rlm.history.replay_run import Replayed, replay_run
from langgraph_rlm.history.saved_run import SavedRun, asave_run, load_run, save_run

__all__ = [
    "Answer",
    "Replayed",
    "SavedRun",
    "ScriptedModel",
    "asave_run",
    "cell",
    "load_run",
    "replay_run",
    "save_run",
]

Answer = str | AIMessage | BaseException
"""A reply, or an exception that the call raises."""


class ScriptedModel(BaseChatModel):
    """A chat model that answers from a script. It counts its calls, may be called from any thread, and streams word by word.

    Exactly one of `replies` and `answer` is given. Tokens are counted as one for four characters.
    """

    replies: Sequence[Any] = ()
    """`Answer`s by turn: the call with N AI messages in its prompt gets the N-th, later ones the last."""
    answer: Callable[[str], Any] | None = None
    """The `Answer` to the text of the last message."""
    seconds: float = 0.0
    """How long each call takes."""
    model_name: str = "scripted"

    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _tools: list[Any] = PrivateAttr(default_factory=list[Any])
    _prompts: list[list[BaseMessage]] = PrivateAttr(default_factory=list[list[BaseMessage]])

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> "ScriptedModel":  # type: ignore[override]
        """The model itself; it keeps `tools` as `bound_tools`."""
        self._tools = list(tools)
        return self

    @property
    def bound_tools(self) -> list[Any]:
        """What `bind_tools` was last given."""
        return list(self._tools)

    @property
    def prompts(self) -> list[list[BaseMessage]]:
        """The messages of every call so far, in order of arrival."""
        return list(self._prompts)

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return len(self._prompts)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        time.sleep(self.seconds)
        return self._result(messages)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(self.seconds)
        return self._result(messages)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        time.sleep(self.seconds)
        yield from self._chunks(messages)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        await asyncio.sleep(self.seconds)
        for chunk in self._chunks(messages):
            yield chunk

    def _result(self, messages: list[BaseMessage]) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages))])

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        reply = self._reply(messages)
        words = reply.text.split(" ")
        for index, word in enumerate(words):
            text = word if index == len(words) - 1 else f"{word} "
            yield ChatGenerationChunk(message=AIMessageChunk(content=text))
        calls = [
            ToolCallChunk(
                type="tool_call_chunk",
                name=call["name"],
                args=json.dumps(call["args"]),
                id=call["id"],
                index=index,
            )
            for index, call in enumerate(reply.tool_calls)
        ]
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="", usage_metadata=reply.usage_metadata, tool_call_chunks=calls
            )
        )

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        with self._lock:
            self._prompts.append(messages)
        answer = self.answer(messages[-1].text) if self.answer else self._scripted(messages)
        if isinstance(answer, BaseException):
            raise answer
        message = answer if isinstance(answer, AIMessage) else AIMessage(str(answer))
        return message.model_copy(
            update={"usage_metadata": message.usage_metadata or _usage(messages, message)}
        )

    def _scripted(self, messages: list[BaseMessage]) -> Any:
        if not self.replies:
            raise ValueError("ScriptedModel needs replies=[...] or answer=function.")
        return self.replies[
            min(sum(isinstance(message, AIMessage) for message in messages), len(self.replies) - 1)
        ]


def _usage(messages: list[BaseMessage], reply: AIMessage) -> UsageMetadata:
    sent, got = sum(len(message.text) for message in messages) // 4, len(reply.text) // 4
    return UsageMetadata(input_tokens=sent, output_tokens=got, total_tokens=sent + got)


def cell(code: str, prose: str = "") -> str:
    """A root model's reply with one cell."""
    return f"{prose}\n```repl\n{code}\n```"
