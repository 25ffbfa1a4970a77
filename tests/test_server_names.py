"""Model ids over HTTP: what goes to the upstream as it is, what is a provider's, and what clients have to choose from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from langgraph_rlm import ConfigurationError
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.server.settings import Alias, read_config, settings_of
from langgraph_rlm.testing import ScriptedModel, cell

from .openai_server import OpenAIServer, environment_upstream
from .servers import Process, Served

ORGANISATIONS = [
    "openai/gpt-oss-20b",
    "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1",
    "deepseek/deepseek-r1",
    "Qwen/Qwen3-8B",
    "anthropic/claude-opus-4-5",
]


def loops(body: Any) -> Any:
    return cell("FINAL(llm_query('x'))") if "No" not in body["model"] else "42"


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, lambda body: "42", "sk-of-the-server-itself")


def app(tmp_path: Path, **settings: Any) -> Any:
    return create_app(Settings(db=str(tmp_path / "server.db"), **settings))


def post(url: str, model: str, text: str = "hello") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{url}/chat/completions", json=body, timeout=30)


def listed(url: str) -> list[str]:
    return [model["id"] for model in httpx.get(f"{url}/models").json()["data"]]


def asked(upstream: OpenAIServer) -> list[str]:
    return [body["model"] for body in upstream.requests]


@pytest.mark.parametrize("has_list", [True, False])
def test_ids_with_an_organisation_go_to_the_upstream_as_they_are(
    upstream: OpenAIServer, tmp_path: Path, has_list: bool
) -> None:
    """If it lists them, and also if it gives no list; in a request, as --model and as --sub-model."""
    upstream.models = ORGANISATIONS if has_list else None
    with Served(app(tmp_path)) as server:
        for name in ORGANISATIONS:
            assert post(server.url, name).json()["model"] == name
    assert asked(upstream) == ORGANISATIONS
    upstream.requests.clear()
    for name in ORGANISATIONS[:2]:
        with Served(app(tmp_path, model=name)) as server:
            assert post(server.url, "rlm").status_code == 200
    assert asked(upstream) == ORGANISATIONS[:2]


def test_a_known_provider_is_one_where_the_upstream_does_not_list_the_id(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    upstream.models = ["mistralai/Small", "gpt-5"]
    with Served(app(tmp_path)) as server:
        assert post(server.url, "mistralai/Small").status_code == 200
        for name in ("groq/llama", "groq:llama", "mistralai:Small"):
            error = post(server.url, name).json()["error"]
            assert error["code"] == "model_not_found" and "cannot be used" in error["message"]
        assert post(server.url, "openai/gpt-5").status_code == 200
        assert post(server.url, "openai:gpt-5").status_code == 200
    assert asked(upstream) == ["mistralai/Small", "gpt-5", "gpt-5"]


def test_without_an_upstream_of_its_own_a_known_provider_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "x")
    with Served(app(tmp_path)) as server:
        assert "groq" in post(server.url, "groq/llama").json()["error"]["message"]


def test_a_colon_is_a_root_and_a_sub_model_unless_the_upstream_lists_the_whole(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    upstream.reply = loops
    upstream.models = ["qwen3:8b", "llama3:8b", "gpt-5", "Noone:x"]
    alias = {"loop": Alias(model="qwen3:8b", direct_below_tokens=0)}
    names = [
        "qwen3:8b",
        "gpt-5:gpt-5",
        "qwen3:8b:llama3:8b",
        "gpt-5:llama3:8b",
        "qwen3:8b:gpt-5",
        "a:b",
    ]
    expected = {
        "qwen3:8b": ["qwen3:8b", "qwen3:8b"],
        "gpt-5:gpt-5": ["gpt-5", "gpt-5"],
        "qwen3:8b:llama3:8b": ["qwen3:8b", "llama3:8b"],
        "gpt-5:llama3:8b": ["gpt-5", "llama3:8b"],
        "qwen3:8b:gpt-5": ["qwen3:8b", "gpt-5"],
        "a:b": ["a", "b"],
    }
    with Served(app(tmp_path, aliases=alias)) as server:
        for name in names:
            upstream.requests.clear()
            assert post(server.url, name, "x" * 40_000).status_code == 200
            assert asked(upstream)[:2] == expected[name]
        upstream.requests.clear()
        assert post(server.url, "loop").status_code == 200
        assert asked(upstream)[:2] == ["qwen3:8b"] * 2
        for wrong in (":", "a:", ":b"):
            assert post(server.url, wrong).json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("has_list", [True, False])
def test_the_servers_own_model_is_one_name(
    upstream: OpenAIServer, tmp_path: Path, has_list: bool
) -> None:
    """`--model qwen3:8b` is not a root `qwen3` with a sub-model `8b`; `--sub-model` likewise."""
    upstream.reply = loops
    upstream.models = ["qwen3:8b"] if has_list else None
    for more, second in ({}, "qwen3:8b"), ({"sub_model": "llama3:8b"}, "llama3:8b"):
        upstream.requests.clear()
        with Served(app(tmp_path, model="qwen3:8b", **more)) as server:
            assert post(server.url, "rlm", "x" * 40_000).status_code == 200
        assert asked(upstream)[:2] == ["qwen3:8b", second]


def test_the_environments_model_is_a_provider_and_a_name(
    upstream: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("openai:qwen3:8b", "openai:openai/gpt-oss-20b", "qwen3:8b"):
        monkeypatch.setenv("LANGGRAPH_RLM_MODEL", value)
        upstream.requests.clear()
        settings = settings_of(None, {"db": str(tmp_path / "server.db")})
        with Served(create_app(settings)) as server:
            assert post(server.url, "rlm").status_code == 200
        assert asked(upstream) == [value.removeprefix("openai:")]


def test_an_alias_has_an_upstream_of_its_own(upstream: OpenAIServer, tmp_path: Path) -> None:
    """Its ids are settled by what that one lists."""
    with OpenAIServer(lambda body: "other") as other:
        other.models = ["nvidia/x", "a:b"]
        aliases = {
            "one": Alias(model="nvidia/x", base_url=other.url),
            "two": Alias(model="a:b", base_url=other.url),
            "three": Alias(model="openai:nvidia/y", base_url=other.url),
        }
        with Served(app(tmp_path, aliases=aliases)) as server:
            for name in aliases:
                assert post(server.url, name).json()["choices"][0]["message"]["content"] == "other"
        assert asked(other) == ["nvidia/x", "a:b", "nvidia/y"] and not upstream.lists


# The list


def test_clients_have_the_upstreams_models_to_choose_from(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    """Ours first, each once; each can be asked as it is listed. The upstream is asked once a minute."""
    upstream.models = ["qwen3:8b", "openai/gpt-oss-20b", "mine"]
    alias = {"mine": Alias(model="gpt-5")}
    with Served(app(tmp_path, model="gpt-5", aliases=alias)) as server:
        assert listed(server.url) == ["mine", "rlm", "qwen3:8b", "openai/gpt-oss-20b"]
        with openai.OpenAI(base_url=server.url, api_key="any") as client:
            assert [model.id for model in client.models.list()] == listed(server.url)
            assert client.models.retrieve("openai/gpt-oss-20b").id == "openai/gpt-oss-20b"
        for name in listed(server.url):
            assert post(server.url, name).json()["model"] == name
    assert asked(upstream) == ["gpt-5", "gpt-5", "qwen3:8b", "openai/gpt-oss-20b"]
    assert upstream.lists <= 2


def test_where_only_listed_models_may_be_named_the_upstreams_are_not_listed(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    upstream.models = ["qwen3:8b"]
    with Served(app(tmp_path, model="gpt-5", any_model=False)) as server:
        assert listed(server.url) == ["rlm"]
        assert post(server.url, "qwen3:8b").status_code == 404


LISTS: dict[str, tuple[int, str, str]] = {
    "an error": (500, "application/json", '{"error": {"message": "no"}}'),
    "a page": (200, "text/html", "<html>Sign in</html>"),
    "no JSON": (200, "application/json", "{"),
    "no end of brackets": (200, "application/json", "[" * 100_000),
    "no list": (200, "application/json", '{"data": 5}'),
    "a list of texts": (200, "application/json", '{"data": ["a", 5, null]}'),
    "odd ids": (200, "application/json", '{"data": [{"id": 5}, {"id": ""}, {"id": "a\\nb"}, {}]}'),
    "long ids": (200, "application/json", '{"data": [{"id": "%s"}]}' % ("x" * 300)),
}


@pytest.mark.parametrize("name", LISTS)
def test_an_upstream_without_a_usable_list_is_one_without_a_list(
    upstream: OpenAIServer, tmp_path: Path, name: str
) -> None:
    upstream.raw_list = LISTS[name]
    with Served(app(tmp_path, model="gpt-5")) as server:
        assert listed(server.url) == ["rlm"]
        assert post(server.url, "a:b").status_code == 200
        assert post(server.url, "mistralai/x").status_code in (200, 404)


def test_an_upstream_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with Served(app(tmp_path, model="gpt-5")) as server:
        assert listed(server.url) == ["rlm"]


def test_keys_guard_the_list(
    upstream: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_RLM_API_KEY", "key")
    upstream.models = ["a"]
    with Served(app(tmp_path)) as server:
        assert httpx.get(f"{server.url}/models").status_code == 401
    assert not upstream.lists


def test_chat_models_of_the_callers_own_list_nothing_of_an_upstream(upstream: OpenAIServer) -> None:
    upstream.models = ["a"]

    async def chat(model_id: str, owner: str) -> Any:
        return ScriptedModel(answer=lambda _: model_id)

    with Served(create_app(chat=chat)) as server:
        assert listed(server.url) == []
        assert post(server.url, "x:y").json()["choices"][0]["message"]["content"] == "x:y"


def test_the_command_lists_them_too(upstream: OpenAIServer, tmp_path: Path) -> None:
    """Runs have a process of their own; both know the list."""
    upstream.models = ["qwen3:8b"]
    options = ["--db", str(tmp_path / "server.db"), "--model", "llama3:8b"]
    with Process(*options, "--window-tokens", "9000") as server:
        assert listed(server.url) == ["rlm", "qwen3:8b"]
        assert [post(server.url, name).status_code for name in listed(server.url)] == [200, 200]
    assert asked(upstream) == ["llama3:8b", "qwen3:8b"]


def test_the_window_is_a_setting_and_of_an_alias(upstream: OpenAIServer, tmp_path: Path) -> None:
    config = tmp_path / "models.toml"
    config.write_text(
        '[models.small]\nmodel = "small"\nwindow_tokens = 4000\ncompact_at = 0.5\ndirect_below_tokens = 0\n'
        '[models.same]\nmodel = "same"\ndirect_below_tokens = 0\nlimits = {max_iterations = 5}\n'
    )
    upstream.reply = lambda body: cell("print('x ' * 1400)")
    for more, sums_up in ({"window_tokens": 4000}, True), ({}, False):
        settings = Settings(db=str(tmp_path / "server.db"), **more, **read_config(config))
        with Served(create_app(settings)) as server:
            assert post(server.url, "small").status_code == 200
            for name in ("small", "same"):
                upstream.requests.clear()
                post(server.url, name)
                told = any("summed them up" in str(body) for body in upstream.requests)
                assert told is (name == "small" or sums_up)
    for wrong in ("window_tokens = 0", "compact_at = 2", "max_tokens = 0"):
        config.write_text(f'[models.x]\nmodel = "m"\n{wrong}\n')
        with pytest.raises(ConfigurationError, match=wrong.split()[0]):
            read_config(config)
