"""LangChain's own standard tests of chat models, for the direct path and for the loop, over HTTP.

Skipped, since the capability is not there: serialization (`test_serdes`: the model holds live
models and tools), VCR recordings, and audio, PDF and image inputs (their tests download files; a
text-only server could not tell whether they arrive).
"""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langgraph_rlm import ChatRLM

from .openai_server import OpenAIServer
from .standard_replies import reply

Details = Literal[
    "audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"
]
PROTOTYPE = {"temperature": 0, "max_tokens": 100, "timeout": 60, "stop": [], "max_retries": 2}


@pytest.fixture(autouse=True, scope="module")
def _server() -> Iterator[OpenAIServer]:
    with OpenAIServer(reply=reply) as running:
        yield running


@pytest.fixture(autouse=True)
def _address(_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", _server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")


class Standard(ChatModelIntegrationTests):
    """What both paths share."""

    direct_below_tokens = 8_000

    @property
    def chat_model_class(self) -> type[ChatRLM]:
        return ChatRLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "openai:gpt-test", "direct_below_tokens": self.direct_below_tokens}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "gpt-other"

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Details]]:
        return {
            "invoke": ["reasoning_output", "cache_read_input"],
            "stream": ["reasoning_output", "cache_read_input"],
        }

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        model = ChatRLM(**self.chat_model_params)
        if not stream:
            return model.invoke("Think about it.")
        first, *rest = model.stream("Think about it.")
        return sum(rest, start=first)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self.invoke_with_reasoning_output(stream=stream)


class TestDirect(Standard):
    """Short inputs, as they go straight to the root model."""


class TestLoop(Standard):
    """The same inputs through the loop."""

    direct_below_tokens = 0


@pytest.mark.slow
class TestDirectByTools(TestDirect):
    """Structured output as tool calls."""

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "function_calling"}


@pytest.mark.slow
class TestLoopByTools(TestLoop):
    """Structured output as tool calls."""

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "function_calling"}


class TestUnit(ChatModelUnitTests):
    """The unit tests."""

    @property
    def chat_model_class(self) -> type[ChatRLM]:
        return ChatRLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "openai:gpt-test", "api_key": "none"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OPENAI_API_KEY": "none"}, {"model": "openai:gpt-test"}, {}
