"""Requests of browsers and of clients with other habits: origins, paths that are not served, fields that another provider does not have, messages that say what is wrong."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from langgraph_rlm import ChatRLM, ConfigurationError
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.server.run import check_origins
from langgraph_rlm.server.settings import settings_of
from langgraph_rlm.testing import ScriptedModel

from .openai_server import OpenAIServer, environment_upstream
from .servers import TOOL, Process, Served

PAGE = "http://localhost:3000"


def scripted(**settings: Any) -> Served:
    model = ScriptedModel(answer=lambda _: "hello")
    return Served(create_app(Settings(**settings), chat=lambda *_: model))


def post(url: str, headers: Any = None, **more: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **more}
    return httpx.post(f"{url}/chat/completions", json=body, headers=headers, timeout=30)


def preflight(url: str, origin: str, method: str = "POST") -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
    }
    return httpx.options(f"{url}/chat/completions", headers=headers)


class TestOrigins:
    def test_pages_of_named_origins_may_ask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A preflight has no key, and needs none."""
        monkeypatch.setenv("LANGGRAPH_RLM_API_KEY", "key")
        key = {"authorization": "Bearer key"}
        with scripted(cors_origins=(PAGE, "https://docs.example.com")) as server:
            for origin in (PAGE, "https://docs.example.com"):
                asked = preflight(server.url, origin)
                assert asked.status_code == 200
                assert asked.headers["access-control-allow-origin"] == origin
                assert "authorization" in asked.headers["access-control-allow-headers"]
                answer = post(server.url, {"origin": origin, **key})
                assert answer.headers["access-control-allow-origin"] == origin
                assert "x-langgraph-rlm-ignored" in answer.headers["access-control-expose-headers"]
            refused = post(server.url, {"origin": PAGE})
            assert refused.status_code == 401  # readable for the page
            assert refused.headers["access-control-allow-origin"] == PAGE
            stream = post(server.url, {"origin": PAGE, **key}, stream=True)
            assert stream.headers["access-control-allow-origin"] == PAGE

    @pytest.mark.parametrize("origins", [(), (PAGE,)])
    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "http://localhost:3001", f"{PAGE}.evil.example", "null"]
    )
    def test_no_others(self, origins: Any, origin: str) -> None:
        with scripted(cors_origins=origins) as server:
            asked = preflight(server.url, origin)
            assert asked.status_code in (400, 405)
            assert "access-control-allow-origin" not in asked.headers
            answer = post(server.url, {"origin": origin})
            assert "access-control-allow-origin" not in answer.headers

    @pytest.mark.parametrize(
        "kind", ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", ""]
    )
    def test_a_page_cannot_spend_money_without_asking_first(self, kind: str) -> None:
        """Such requests need no preflight, so that a page of any origin could send them."""
        headers = {"origin": "https://evil.example", "content-type": kind}
        body = b'{"model": "m", "messages": [{"role": "user", "content": "hello"}]}'
        model = ScriptedModel(answer=lambda _: "hello")
        with Served(create_app(Settings(), chat=lambda *_: model)) as server:
            answer = httpx.post(f"{server.url}/chat/completions", content=body, headers=headers)
            assert answer.status_code == 415
            assert "application/json" in answer.json()["error"]["message"]
            assert model.calls == 0
            del headers["origin"]  # no browser: curl's own content type is a form's
            assert httpx.post(
                f"{server.url}/chat/completions", content=body, headers=headers
            ).is_success

    def test_all_of_them(self) -> None:
        with scripted(cors_origins=("*",)) as server:
            assert preflight(server.url, PAGE).headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in post(server.url).headers

    @pytest.mark.parametrize(
        "wrong", ["localhost:3000", f"{PAGE}/", f"{PAGE}/chat", "https://*.example.com", "", "a b"]
    )
    def test_what_is_not_an_origin_is_refused(self, wrong: str) -> None:
        with pytest.raises(ConfigurationError, match="is not an origin: give scheme and host"):
            settings_of(None, {"cors_origins": (wrong,)})

    def test_they_are_compared_as_browsers_write_them(self) -> None:
        assert Settings(cors_origins=("HTTPS://Docs.Example.com",)).cors_origins == (
            "https://docs.example.com",
        )

    def test_every_page_needs_a_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        open_to_all = Settings(cors_origins=("*",))
        with pytest.raises(ConfigurationError, match="Name the origins, or set"):
            check_origins(open_to_all, is_forced=False)
        check_origins(open_to_all, is_forced=True)
        check_origins(Settings(cors_origins=(PAGE,)), is_forced=False)
        monkeypatch.setenv("LANGGRAPH_RLM_API_KEY", "key")
        check_origins(open_to_all, is_forced=False)

    def test_the_command_takes_them(self, upstream: OpenAIServer, tmp_path: Any) -> None:
        options = ["--cors-origin", PAGE, "--cors-origin", "https://example.com"]
        with Process("--db", str(tmp_path / "server.db"), "--model", "m", *options) as server:
            for origin in (PAGE, "https://example.com"):
                answer = post(server.url, {"origin": origin}, model="rlm")
                assert answer.headers["access-control-allow-origin"] == origin


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, lambda body: "42")


class TestPaths:
    @pytest.mark.parametrize(
        ("method", "path", "told"),
        [
            ("POST", "/v1/conversations", "previous_response_id"),
            ("POST", "/v1/responses/compact", "it takes "),
            ("GET", "/v1/responses/resp_1/nothing", "POST /v1/responses"),
            ("POST", "/responses", "http://HOST:PORT/v1"),
            ("POST", "/v1/messages", "POST /v1/chat/completions"),
            ("POST", "/v1/embeddings", "not served"),
            ("POST", "/v1/audio/speech", "not served"),
            ("POST", "/chat/completions", "http://HOST:PORT/v1"),
            ("GET", "/models", "http://HOST:PORT/v1"),
            ("POST", "/v1/v1/chat/completions", "/v1 twice"),
            ("POST", "/api/chat", "Ollama's API is not served"),
            ("GET", "/", "POST /v1/chat/completions"),
            ("GET", "/v1", "POST /v1/chat/completions"),
            ("GET", "/v1/chat/completions", "takes POST"),
            ("POST", "/v1/models", "it takes "),
        ],
    )
    def test_a_path_that_is_not_served_says_what_to_use(
        self, method: str, path: str, told: str
    ) -> None:
        with scripted() as server:
            response = httpx.request(method, server.url.removesuffix("/v1") + path)
        error = response.json()["error"]
        assert response.status_code == (405 if "takes" in told else 404)
        assert told in error["message"] and error["type"] == "invalid_request_error"


class Claude(ScriptedModel):
    """A model of another provider: its client knows these parameters, and raises on any other."""

    temperature: float | None = None
    top_p: float | None = None
    asked: Any = None

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **given: Any
    ) -> Any:
        for name in given:
            if name not in ("max_tokens", "tools", "tool_choice"):
                raise TypeError(f"create() got an unexpected keyword argument '{name}'")
        own = {"temperature": self.temperature, "top_p": self.top_p, "stop": stop}
        self.asked.append({**own, **given})
        async for chunk in super()._astream(messages, stop, run_manager):
            yield chunk

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **given: Any
    ) -> Any:
        async for _ in self._astream(messages, stop, run_manager, **given):
            pass
        return await super()._agenerate(messages, stop, run_manager)


class TestSampling:
    EVERYTHING: Any = {  # noqa: RUF012 - read only
        "temperature": 0.5,
        "top_p": 0.9,
        "frequency_penalty": 0,
        "presence_penalty": 1,
        "seed": 1,
        "logit_bias": {"5": 1},
        "user": "u",
        "reasoning_effort": "low",
        "verbosity": "low",
        "top_k": 4,
        "metadata": {"a": "b"},
        "store": True,
        "service_tier": None,
        "function_call": None,
    }
    IGNORED = (
        "frequency_penalty, presence_penalty, seed, logit_bias, reasoning_effort, verbosity, user, "
        "top_k, metadata, store"
    )

    @pytest.mark.parametrize("kind", ["chat", "rlm", "loop"])
    @pytest.mark.parametrize("stream", [False, True])
    def test_another_provider_gets_those_that_it_has(self, kind: str, stream: bool) -> None:
        """The rest is left out, and a header names it."""
        asked: list[Any] = []
        root = Claude(answer=lambda _: "FINAL(hello)", asked=asked)
        model: Any = root
        if kind != "chat":
            model = ChatRLM(model=root, direct_below_tokens=0 if kind == "loop" else 8_000)
        with Served(create_app(chat=lambda *_: model)) as server:
            response = post(server.url, stream=stream, max_tokens=9, stop="X", **self.EVERYTHING)
            plain = post(server.url, stream=stream, temperature=0.5)
        assert response.status_code == 200
        assert response.headers["x-langgraph-rlm-ignored"] == self.IGNORED
        assert "x-langgraph-rlm-ignored" not in plain.headers
        assert (asked[0]["temperature"], asked[0]["top_p"]) == (0.5, 0.9)
        if kind != "loop":
            assert (asked[0]["max_tokens"], asked[0]["stop"]) == (9, ["X"])
        assert (root.temperature, root.top_p) == (None, None)

    def test_openais_models_get_all_and_nothing_that_is_null(
        self, upstream: OpenAIServer, tmp_path: Any
    ) -> None:
        app = create_app(Settings(db=str(tmp_path / "server.db")))
        with Served(app) as server:
            response = post(server.url, **self.EVERYTHING)
        assert response.status_code == 200
        (body,) = upstream.requests
        assert (body["seed"], body["top_k"], body["user"]) == (1, 4, "u")
        assert "service_tier" not in body and "function_call" not in body
        assert response.headers["x-langgraph-rlm-ignored"] == "metadata, store"

    def test_names_of_the_clients_fit_the_header(self) -> None:
        model = ChatRLM(model=Claude(answer=lambda _: "x", asked=[]))
        odd = {"a\r\nset-cookie: b": 1, "ü": 1, "n" * 100: 1, **{f"f{n}": 1 for n in range(99)}}
        with Served(create_app(chat=lambda *_: model)) as server:
            response = post(server.url, **odd)
        assert response.status_code == 200 and "set-cookie" not in response.headers
        assert len(response.headers["x-langgraph-rlm-ignored"]) < 400


class TestMessages:
    """Each names what was given, and where; none names a branch that the client did not take."""

    @pytest.mark.parametrize(
        ("more", "param", "told"),
        [
            (
                {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]},
                "messages.0.content.0.type",
                "'input_text' is not one of 'text', 'image_url'",
            ),
            (
                {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
                "messages.0.content.0",
                "a part of type 'text' needs 'text'",
            ),
            ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "list"),
            ({"messages": [{"role": "user"}]}, "messages.0.content", "required"),
            ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role", "'robot'"),
            ({"messages": [{"content": "x"}]}, "messages.0.role", "is missing"),
            (
                {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "price"}},
                "tool_choice.type",
                "'tool' is not one of 'function'",
            ),
            ({"tools": [TOOL], "tool_choice": "must"}, "tool_choice", "'must' is not one of"),
            ({"tools": [{"type": "web"}]}, "tools.0.type", "'web' is not one of 'function'"),
            ({"stop": ["x"] * 17}, "stop", "at most 16"),
            ({"response_format": {"type": "xml"}}, "response_format.type", "'xml' is not one of"),
        ],
    )
    def test_what_is_wrong_and_where(self, more: Any, param: str, told: str) -> None:
        with scripted() as server:
            response = post(server.url, **more)
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, param), error
        assert told in error["message"] and "(text)" not in error["message"]

    def test_thoughts_that_come_back_as_a_part_are_named(self) -> None:
        said = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]},
            {"role": "user", "content": "c"},
        ]
        with scripted() as server:
            error = post(server.url, messages=said).json()["error"]
        assert error["param"] == "messages.1.content.0.type" and "'thinking'" in error["message"]
