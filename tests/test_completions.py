"""OpenAI's completions of a bare prompt."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types import Completion

from langgraph_rlm.server import create_app
from langgraph_rlm.testing import ScriptedModel, cell

from .servers import Served, rlm_app

HTTP = httpx.Client(timeout=30)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Served(
        rlm_app(lambda: ScriptedModel(answer=lambda _: cell("FINAL('one two')")))
    ) as server:
        yield server.url


def post(url: str, **body: Any) -> httpx.Response:
    return HTTP.post(f"{url}/completions", json={"model": "m", "prompt": "hello", **body})


@pytest.mark.parametrize("prompt", ["hello", ["hello"]])
def test_a_prompt_is_answered(url: str, prompt: Any) -> None:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        reply = client.completions.create(model="rlm", prompt=prompt, n=1, echo=False)
        stream = client.completions.create(
            model="rlm", prompt=prompt, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert (reply.choices[0].text, reply.choices[0].finish_reason) == ("one two", "stop")
    assert reply.usage is not None and reply.usage.total_tokens > 0
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == "one two"
    assert chunks[-2].choices[0].finish_reason == "stop" and chunks[-1].usage is not None


def test_what_is_sent_has_the_types_of_openai(url: str) -> None:
    Completion.model_validate_json(post(url).text, strict=True)
    cut = Completion.model_validate_json(post(url, max_tokens=1).text, strict=True)
    assert (cut.choices[0].text, cut.choices[0].finish_reason) == ("one ", "length")


@pytest.mark.parametrize(
    ("body", "param", "told"),
    [
        ({"prompt": ["a", "b"]}, "prompt", "a list of one"),
        ({"prompt": [1, 2]}, "prompt", "token ids are not taken"),
        ({"prompt": None}, "prompt", "list of one"),
        ({"n": 2}, "n", "one answer"),
        ({"best_of": 3}, "best_of", "one answer"),
        ({"echo": True}, "echo", "does not repeat"),
        ({"suffix": "x"}, "suffix", "inserted"),
        ({"logprobs": 0}, "logprobs", "log probabilities"),
        ({"messages": []}, "messages", "/v1/chat/completions"),
        ({"temperature": 9}, "temperature", "less than or equal to 2"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(url: str, body: Any, param: str, told: str) -> None:
    response = post(url, **body)
    error = response.json()["error"]
    assert response.status_code == 400 and told in error["message"]
    assert str(error["param"]).startswith(param)


def test_what_the_request_sets_goes_to_the_model() -> None:
    model = ScriptedModel(answer=lambda _: "yes END no")
    with Served(create_app(chat=lambda *_: model)) as server:
        assert post(server.url, stop=["END"], user="ann").status_code == 200
    assert model.prompts[-1][0].text == "hello"
