"""Testing: models that need no network, runs that replay as tests, and the contract of sandboxes.

For the tests of this package, and for those of its users.
"""

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
from langgraph_rlm.repl.contract import repl_contract

__all__ = [
    "Answer",
    "Replayed",
    "SavedRun",
    "ScriptedModel",
    "asave_run",
    "cell",
    "load_run",
    "repl_contract",
    "replay_run",
    "save_run",
]

Answer = str | AIMessage | BaseException
"""A reply, or an exception that the call raises."""


class ScriptedModel(BaseChatModel):
    """A chat model that answers from a script.

    It counts its calls, may be called from any thread, and streams word by word. Give exactly one
    of `replies` and `answer`. Four characters count as one token.
    """

    replies: Sequence[Any] = ()
    """An `Answer` for each turn: a call whose prompt has N AI messages gets number N, from 0.

    Later calls get the last one.
    """
    answer: Callable[[str], Any] | None = None
    """Gives the `Answer` to the text of the last message."""
    seconds: float = 0.0
    """How long each call takes."""
    model_name: str = "scripted"

    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _tools: list[Any] = PrivateAttr(default_factory=list[Any])
    _prompts: list[list[BaseMessage]] = PrivateAttr(default_factory=list[list[BaseMessage]])

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> "ScriptedModel":
        """Keep `tools` as `bound_tools`, and give the model itself."""
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
        *words, last = reply.text.split(" ")
        for text in [*(f"{word} " for word in words), last]:
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
        end = AIMessageChunk(
            content="", usage_metadata=reply.usage_metadata, tool_call_chunks=calls
        )
        yield ChatGenerationChunk(message=end)

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        with self._lock:
            self._prompts.append(messages)
        answer = self.answer(messages[-1].text) if self.answer else self._scripted(messages)
        if isinstance(answer, BaseException):
            raise answer
        message = answer if isinstance(answer, AIMessage) else AIMessage(str(answer))
        usage = message.usage_metadata or _usage(messages, message)
        return message.model_copy(update={"usage_metadata": usage})

    def _scripted(self, messages: list[BaseMessage]) -> Any:
        if not self.replies:
            raise ValueError("ScriptedModel needs replies=[...] or answer=function.")
        turn = sum(isinstance(message, AIMessage) for message in messages)
        return self.replies[min(turn, len(self.replies) - 1)]


def _usage(messages: list[BaseMessage], reply: AIMessage) -> UsageMetadata:
    sent = sum(len(message.text) for message in messages) // 4
    got = len(reply.text) // 4
    return UsageMetadata(input_tokens=sent, output_tokens=got, total_tokens=sent + got)


def cell(code: str, prose: str = "") -> str:
    """Give a root model's reply with one cell."""
    return f"{prose}\n```repl\n{code}\n```"
