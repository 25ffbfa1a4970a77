"""`GET /metrics`: the figures of a server, in Prometheus' text format."""

import threading
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from langgraph_rlm.pregel.leases import Database, lease
from langgraph_rlm.server import Settings
from langgraph_rlm.server.figures import MODELS, OTHER, Figures
from langgraph_rlm.telemetry.work import Event, Where, Work
from langgraph_rlm.testing import ScriptedModel

from .models import root
from .openai_server import OpenAIServer
from .servers import Process, Served, folder_options, rlm_app

PREFIX = "langgraph_rlm_"


def samples(text: str) -> dict[str, float]:
    """Every sample of a text, by its name and its labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith(("_bucket", "_created")):
                continue
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            name = f"{sample.name.removeprefix(PREFIX)}{{{labels}}}"
            assert name not in found
            found[name] = sample.value
    return found


def scraped(url: str, **options: Any) -> dict[str, float]:
    reply = httpx.get(f"{url.removesuffix('/v1')}/metrics", **options)
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/plain")
    return samples(reply.text)


def ask(url: str, **options: Any) -> httpx.Response:
    body = {"model": "rlm", "messages": [{"role": "user", "content": "?"}]}
    return httpx.post(f"{url}/chat/completions", json=body, timeout=60, **options)


class TestScraping:
    def test_runs_calls_tokens_and_requests_are_counted(self) -> None:
        code = "llm_query_batched(['a', 'b'])\nFINAL('x')"
        with Served(rlm_app(lambda: root(code))) as server:
            assert ask(server.url).status_code == 200
            found = scraped(server.url)
        assert found["runs_total{stop_reason=answered}"] == 1 and found["runs_active{}"] == 0
        assert found["calls_total{depth=0,kind=plan,model=scripted,outcome=ok}"] == 1
        assert found["calls_total{depth=1,kind=llm_query,model=scripted,outcome=ok}"] == 2
        assert found["call_seconds_count{kind=llm_query}"] == 2
        assert found["call_wait_seconds_count{kind=llm_query}"] == 2
        assert found["tokens_total{model=scripted,type=input}"] > 1000
        assert found["unpriced_calls_total{model=scripted}"] == 3
        assert found["cells_total{outcome=ok}"] == 1
        assert found["sandboxes_started_total{}"] == 1 and found["sandboxes_alive{}"] == 0
        assert found["http_requests_total{route=/v1/chat/completions,status=200}"] == 1
        assert found["http_request_seconds_count{route=/v1/chat/completions}"] == 1
        assert found["http_requests_active{}"] == 1  # that for the figures
        assert found["http_queue_seconds_count{}"] == 1 and found["run_process_up{}"] == 1

    def test_requests_at_once_add_up(self) -> None:
        with Served(rlm_app(lambda: root("FINAL('x')"))) as server:
            threads = [threading.Thread(target=ask, args=(server.url,)) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            found = scraped(server.url)
        assert found["runs_total{stop_reason=answered}"] == 12
        assert found["http_requests_total{route=/v1/chat/completions,status=200}"] == 12
        assert found["calls_active{kind=plan}"] == 0

    def test_errors_are_counted_by_kind(self) -> None:
        failing = ScriptedModel(replies=[ValueError("no")])
        with Served(rlm_app(lambda: failing)) as server:
            ask(server.url)
            found = scraped(server.url)
        assert found["errors_total{kind=plan,type=ValueError}"] == 1
        assert found["errors_total{kind=run,type=ValueError}"] == 1
        assert found["runs_total{stop_reason=error}"] == 1

    def test_unknown_paths_share_one_series(self) -> None:
        with Served(rlm_app(lambda: root("FINAL('x')"))) as server:
            for number in range(5):
                httpx.get(f"{server.url}/{number}/nothing")
            found = scraped(server.url)
        assert found["http_requests_total{route=other,status=404}"] == 5

    @pytest.mark.slow
    def test_the_command_serves_figures_of_its_process_of_runs(self, tmp_path: Any) -> None:
        with (
            OpenAIServer(lambda _: "hello") as upstream,
            Process(
                "--model",
                "m",
                *folder_options(tmp_path),
                OPENAI_BASE_URL=upstream.url,
                OPENAI_API_KEY="x",
            ) as server,
        ):
            assert ask(server.url).status_code == 200
            found = scraped(server.url)
        assert found["calls_total{depth=0,kind=direct,model=m,outcome=ok}"] == 1
        assert found["http_requests_total{route=/v1/chat/completions,status=200}"] == 1


class TestWhoMayAsk:
    def served(self, monkeypatch: pytest.MonkeyPatch, **keys: str) -> Served:
        for name, key in keys.items():
            monkeypatch.setenv(name, key)
        return Served(rlm_app(lambda: root("FINAL('x')"), settings=Settings()))

    def status(self, url: str, path: str, key: str | None) -> int:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.get(f"{url.removesuffix('/v1')}{path}", headers=headers).status_code

    def test_a_key_of_the_server_where_it_has_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with self.served(monkeypatch, LANGGRAPH_RLM_API_KEY="k") as server:
            assert [self.status(server.url, "/metrics", key) for key in (None, "x", "k")] == [
                401,
                401,
                200,
            ]

    def test_a_key_for_figures_alone_spends_no_money(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = {"LANGGRAPH_RLM_API_KEY": "k", "LANGGRAPH_RLM_METRICS_KEY": "m"}
        with self.served(monkeypatch, **keys) as server:
            assert [self.status(server.url, "/metrics", key) for key in (None, "k", "m")] == [
                401,
                401,
                200,
            ]
            assert self.status(server.url, "/v1/models", "m") == 401


class TestLabels:
    def called(self, figures: Figures, model: str, outcome: Any = "ok", **options: Any) -> None:
        work = Work("model", "plan", Where(depth=options.get("depth", 0)), model=model)
        work.outcome = outcome
        if outcome == "error":
            work.error = type(options["error"], (Exception,), {})()
        figures.begin(work)
        figures.end(work)

    def test_names_of_clients_cannot_make_series_without_end(self) -> None:
        figures = Figures()
        for number in range(1000):
            self.called(figures, f"junk-{number}", "error", error=f"Error{number}", depth=number)
        hostile = 'a"} 1\nforged{x="' + "b" * 1000
        self.called(figures, hostile)
        for number in range(1000):
            self.called(figures, f"model-{number}")
        found = samples(figures.text().decode())
        models = {name.split("model=")[1].split(",")[0] for name in found if "model=" in name}
        assert len(models) <= MODELS + 1 and OTHER in models
        assert not [
            name for name in models if name.startswith("junk")
        ]  # none of their calls succeeded
        assert not [name for name in found if name.startswith("forged")]
        assert len(found) < 400

    def test_every_series_stands_in_the_documentation(self) -> None:
        from pathlib import Path

        from langgraph_rlm.server.metrics import HttpFigures

        http: Any = HttpFigures(lambda: 0, 1)
        families = [*Figures().registry.collect(), *http._registry.collect()]
        page = (Path(__file__).parent.parent / "docs" / "observability.md").read_text()
        for family in families:
            assert f"`{family.name}" in page, family.name

    def test_sandboxes_that_live_are_those_that_started_and_have_not_ended(self) -> None:
        figures = Figures()
        for kind in ("sandbox started", "sandbox started", "sandbox crashed", "sandbox ended"):
            figures.happened(Event(kind))
        figures.happened(Event("replay", "3"))
        found = samples(figures.text().decode())
        assert found["sandboxes_alive{}"] == 1 and found["sandboxes_crashed_total{}"] == 1
        assert found["replayed_cells_total{}"] == 3

    async def test_leases_are_those_that_the_process_holds_now(self) -> None:
        figures, database = Figures(), Database("figures", None)
        before = samples(figures.text().decode())["leases_held{}"]
        async with lease(database, "a"), lease(database, "b"):
            assert samples(figures.text().decode())["leases_held{}"] == before + 2
        assert samples(figures.text().decode())["leases_held{}"] == before
