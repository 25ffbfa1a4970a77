"""Limits of keys: requests, tokens and USD of a day, counted once over all servers of a database."""

import asyncio
import hashlib
import random
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage

from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.budget.prices import Prices
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.keys import limits_by_owner
from langgraph_rlm.server.limits.accounts import Accounts
from langgraph_rlm.server.limits.day import DAY, HELD_SECONDS, Amount, Day, Word, heard, read_day
from langgraph_rlm.server.limits.days import Days, MemoryDays, PostgresDays, SqliteDays
from langgraph_rlm.server.limits.given import KeyLimits, NamedKey
from langgraph_rlm.server.limits.opening import has_limits
from langgraph_rlm.server.run import check_binding
from langgraph_rlm.server.settings import read_config
from langgraph_rlm.testing import cell

from .faults.databases import CannotStart, Postgres
from .openai_server import OpenAIServer, environment_upstream
from .servers import Served

NOW = 20_000.0 * DAY + 100
ADA, BOB = "key-of-ada", "key-of-bob"
HTTP = httpx.Client(timeout=30)
"""One client for all tests: each new one reads the machine's certificates, which takes a while."""


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def ask(url: str, key: str = ADA, model: str = "m", text: str = "hello", **body: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **body}
    headers = {"authorization": f"Bearer {key}"}
    return HTTP.post(f"{url}/chat/completions", json=body, headers=headers)


def used(url: str, key: str = ADA) -> Any:
    return HTTP.get(f"{url}/usage", headers={"authorization": f"Bearer {key}"}).json()["used"]


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    usage = {"prompt_tokens": 90, "completion_tokens": 10}
    yield from environment_upstream(monkeypatch, lambda _: {"content": "42", "usage": usage})


def served(tmp_path: Path, *, keys: Any = None, **settings: Any) -> Served:
    keys = keys or {name: {"sha256": digest(key)} for name, key in (("a", ADA), ("b", BOB))}
    named = {name: NamedKey.model_validate(key) for name, key in keys.items()}
    where = {"db": str(tmp_path / "server.db"), "blob_store": str(tmp_path / "blobs")}
    return Served(create_app(Settings(**where, keys=named, **settings)))


class TestOneDay:
    def test_what_is_held_leaves_less_for_others_until_it_is_given_back(self) -> None:
        limits = KeyLimits(tokens_per_day=1000)
        one = heard(Day(), Word("one", 1, needed=Amount(800), wanted=Amount(900)), limits, NOW)
        assert one.let_in == 1 and one.held.tokens == 900
        other = heard(one.day, Word("other", 1, wanted=Amount(900)), limits, NOW)
        assert other.let_in == 1 and other.held.tokens == 100
        third = heard(other.day, Word("third", 1, wanted=Amount(50)), limits, NOW)
        assert third.let_in == 0 and third.reason == "in_flight"
        back = heard(third.day, Word("one", used=Amount(200)), limits, NOW)
        assert back.day.used.tokens == 200 and back.day.all_held.tokens == 100

    def test_what_a_dead_process_held_is_given_back(self) -> None:
        limits = KeyLimits(tokens_per_day=1000, open_requests=1)
        dead = heard(Day(), Word("dead", 1, wanted=Amount(1000)), limits, NOW).day
        asked = Word("other", 1, wanted=Amount(10))
        assert heard(dead, asked, limits, NOW + HELD_SECONDS - 1).let_in == 0
        later = heard(dead, asked, limits, NOW + HELD_SECONDS + 1)
        assert later.let_in == 1 and later.day.all_open == 1

    def test_a_minute_and_a_day_have_their_own_counts(self) -> None:
        limits = KeyLimits(requests_per_day=5, requests_per_minute=2)
        first = heard(Day(), Word("one", 3), limits, NOW)
        assert first.let_in == 2 and first.reason == "requests_per_minute"
        second = heard(first.day, Word("one", 9, open=2), limits, NOW + 60)
        assert second.let_in == 2
        third = heard(second.day, Word("one", 9, open=4), limits, NOW + 120)
        assert third.let_in == 1 and third.reason == "requests_per_day"

    def test_a_day_is_read_as_it_was_written(self) -> None:
        told = heard(Day(), Word("one", 2, used=Amount(3, 0.1)), KeyLimits(), NOW)
        assert read_day(told.day.written()) == told.day and read_day({}) == Day()


class Counted:
    """Two processes over one store, which spend at random."""

    def __init__(self, days: list[Days], limits: KeyLimits) -> None:
        prices = Prices({"m": {"input": 1000, "output": 1000}})
        self.accounts = [Accounts(each, limits, {}, prices) for each in days]
        self.spent = 0

    async def client(self, accounts: Accounts, seed: int, requests: int) -> int:
        dice, let_in = random.Random(seed), 0
        for _ in range(requests):
            with suppress(Refused):
                async with accounts.request("ada"):
                    let_in += 1
                    await self._call(accounts, dice)
        return let_in

    async def _call(self, accounts: Accounts, dice: random.Random) -> None:
        budget, chars = accounts.budget("ada"), dice.randrange(40, 400) * 4
        await budget.prepare("m", chars)
        try:
            hold = budget.hold("m", chars)
        except LimitReached:
            return
        await asyncio.sleep(dice.random() / 500)
        tokens = hold.tokens
        usage: Any = {"input_tokens": chars // 4, "output_tokens": tokens - chars // 4}
        usage["total_tokens"] = tokens
        budget.settle("m", 1, AIMessage("x", usage_metadata=usage), chars)
        budget.release(hold)
        self.spent += tokens


async def stores(kind: str, tmp_path: Path, held: Any) -> list[Days]:
    if kind == "memory":
        return [MemoryDays()] * 2
    if kind == "sqlite":
        return [SqliteDays(tmp_path / "days.db") for _ in range(2)]
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    try:
        database = held.enter_context(Postgres())
    except CannotStart as error:
        pytest.skip(str(error))
    settings: Any = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pools = [AsyncConnectionPool(database.url, kwargs=settings, open=False) for _ in range(2)]
    for pool in pools:
        await pool.open()
        held.push_async_callback(pool.close)
    return [PostgresDays(pool) for pool in pools]


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgresql"])
async def test_parallel_requests_of_two_processes_stay_within_the_day(
    kind: str, tmp_path: Path
) -> None:
    """40 clients of one key. Each call spends what it was thought to: then nothing passes the limit."""
    limits = KeyLimits(tokens_per_day=60_000, usd_per_day=50.0, requests_per_day=300)
    async with AsyncExitStack() as held:
        days = await stores(kind, tmp_path, held)
        counted = Counted(days, limits)
        work = [counted.client(counted.accounts[n % 2], n, 20) for n in range(40)]
        let_in = sum(await asyncio.gather(*work))
        for accounts in counted.accounts:
            for account in accounts._today.values():
                await account.say()
        told = await counted.accounts[0].used("ada")
        assert told["used"]["tokens"] == counted.spent
        assert 40_000 < counted.spent <= 50_000  # 50 USD are 50,000 tokens here
        assert let_in == told["used"]["requests"] <= 300
        assert told["used"]["open_requests"] == 0
        for accounts in counted.accounts:
            await accounts.close()


async def test_a_day_ends_at_midnight_and_runs_of_before_are_counted_where_they_began() -> None:
    now = [NOW]
    days = MemoryDays(lambda: now[0])
    accounts = Accounts(days, KeyLimits(requests_per_day=1), {}, Prices())
    async with accounts.request("ada"):
        before = accounts.budget("ada")
        with pytest.raises(Refused) as refused:
            async with accounts.request("ada"):
                pass
        assert refused.value.headers["retry-after"] == str(DAY - 100 + 1)
        now[0] = NOW + DAY
        async with accounts.request("ada"):
            assert accounts.budget("ada") is not before
    await accounts.close()


class TestOverHttp:
    def test_requests_of_a_day(self, upstream: OpenAIServer, tmp_path: Path) -> None:
        """The error and the headers are those that OpenAI's clients know; another key has its own day."""
        with served(tmp_path, limits=KeyLimits(requests_per_day=2)) as server:
            first = ask(server.url)
            assert first.status_code == 200
            assert first.headers["x-ratelimit-limit-requests"] == "2"
            assert first.headers["x-ratelimit-remaining-requests"] == "1"
            assert ask(server.url).status_code == 200
            third = ask(server.url)
            assert third.status_code == 429
            error = third.json()["error"]
            assert error["type"] == error["code"] == "insufficient_quota"
            assert 0 < int(third.headers["retry-after"]) <= DAY
            assert third.headers["x-should-retry"] == "false"
            assert "a" not in error["message"].split() and digest(ADA)[:8] not in third.text
            client = openai.OpenAI(base_url=server.url, api_key=ADA)
            with pytest.raises(openai.RateLimitError) as raised:
                client.responses.create(model="m", input="x")
            assert raised.value.code == "insufficient_quota"
            assert ask(server.url, BOB).status_code == 200
            assert len(upstream.requests) == 3
            metrics = HTTP.get(
                server.url.replace("/v1", "/metrics"), headers={"authorization": f"Bearer {BOB}"}
            ).text
            assert 'key_refusals_total{reason="requests_per_day"} 2.0' in metrics

    def test_tokens_of_a_day_end_a_run_and_refuse_a_question(
        self, upstream: OpenAIServer, tmp_path: Path
    ) -> None:
        """200 sub-calls of 100 tokens do not fit into 8,000: the run ends, and passes the day by no more than what was in flight."""
        code = cell("FINAL(' '.join(llm_query_batched(['x'] * 200)))")
        usage = {"prompt_tokens": 90, "completion_tokens": 10}
        upstream.reply = lambda body: {
            "content": code if body["model"] == "root" else "42",
            "usage": usage,
        }
        aliases: Any = {"loop": {"model": "root", "sub_model": "sub", "direct_below_tokens": 0}}
        limits = KeyLimits(tokens_per_day=8_000)
        with served(tmp_path, limits=limits, aliases=aliases) as server:
            ended = ask(server.url, model="loop")
            assert ended.status_code == 200, ended.text
            assert ended.json()["choices"][0]["finish_reason"] == "length"
            spent = used(server.url)["tokens"]
            assert 6_000 < spent <= 8_000 + 16 * 100
            refused = ask(server.url, text="x" * 36_000)
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "insufficient_quota"
            assert used(server.url)["tokens"] == spent

    def test_usd_need_prices(self, upstream: OpenAIServer, tmp_path: Path) -> None:
        """A model without a price is refused before it is asked; one with a price is counted by it."""
        limits = KeyLimits(usd_per_day=1)
        prices: Any = {"m": {"input": 1000, "output": 1_000}}
        with served(tmp_path, limits=limits, prices=prices) as server:
            unknown = ask(server.url, model="unknown")
            assert unknown.status_code == 400
            assert unknown.json()["error"]["code"] == "model_not_priced"
            assert not upstream.requests
            assert ask(server.url).status_code == 200
            assert used(server.url)["usd"] == pytest.approx(0.1)

    def test_a_client_that_leaves_pays_for_what_its_model_was_asked(
        self, upstream: OpenAIServer, tmp_path: Path
    ) -> None:
        upstream.reply = lambda _: {"content": "late", "seconds": 1.0}
        with served(tmp_path, limits=KeyLimits(tokens_per_day=100_000)) as server:
            with pytest.raises(httpx.ReadTimeout):
                HTTP.post(
                    f"{server.url}/chat/completions",
                    json={"model": "m", "messages": [{"role": "user", "content": "x" * 4_000}]},
                    headers={"authorization": f"Bearer {ADA}"},
                    timeout=0.5,
                )
            for _ in range(100):
                if used(server.url)["tokens"]:
                    break
            assert used(server.url)["tokens"] >= 1_000
            assert used(server.url)["open_requests"] == 0

    def test_two_hundred_clients_at_once(self, upstream: OpenAIServer, tmp_path: Path) -> None:
        """Exactly as many requests are let in as the day has."""
        with (
            served(tmp_path, limits=KeyLimits(requests_per_day=50)) as server,
            ThreadPoolExecutor(40) as threads,
        ):
            statuses = [*threads.map(lambda _: ask(server.url).status_code, range(200))]
            assert statuses.count(200) == 50 and statuses.count(429) == 150
            assert used(server.url)["requests"] == 50 == len(upstream.requests)

    def test_wrong_keys_leave_nothing_and_no_key_is_kept(
        self, upstream: OpenAIServer, tmp_path: Path
    ) -> None:
        with served(tmp_path, limits=KeyLimits(requests_per_day=50)) as server:
            assert ask(server.url).status_code == 200
            for n in range(50):
                assert ask(server.url, f"wrong-{n}").status_code == 401
            assert ask(server.url, f"{ADA}\x7f").status_code == 400  # no header may have it
        with sqlite3.connect(tmp_path / "server.db") as connection:
            rows = connection.execute("SELECT owner, used FROM langgraph_rlm_key_days").fetchall()
        assert [row[0] for row in rows] == [digest(ADA)[:32]]
        assert ADA.encode() not in (tmp_path / "server.db").read_bytes()

    def test_limits_outlive_the_server(self, upstream: OpenAIServer, tmp_path: Path) -> None:
        for status in (200, 429):
            with served(tmp_path, limits=KeyLimits(requests_per_day=1)) as server:
                assert ask(server.url).status_code == status

    def test_a_key_with_limits_of_its_own(self, upstream: OpenAIServer, tmp_path: Path) -> None:
        keys = {
            "a": {"sha256": digest(ADA), "requests_per_day": 1},
            "b": {"sha256": digest(BOB)},
        }
        with served(tmp_path, keys=keys) as server:
            assert ask(server.url).status_code == 200
            assert ask(server.url).status_code == 429
            assert [ask(server.url, BOB).status_code for _ in range(3)] == [200] * 3

    def test_without_limits_nothing_is_counted(
        self, upstream: OpenAIServer, tmp_path: Path
    ) -> None:
        with served(tmp_path) as server:
            answer = ask(server.url)
            assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
            headers = {"authorization": f"Bearer {ADA}"}
            assert HTTP.get(f"{server.url}/usage", headers=headers).status_code == 404


CONFIG = """
[limits]
requests_per_day = 100
[keys.team-one]
env = "TEAM_ONE"
usd_per_day = 2.5
[keys.two]
sha256 = "{digest}"
[prices."qwen3:8b"]
input = 0
output = 0
"""


def test_the_configuration_file_has_digests_and_names_of_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "models.toml"
    path.write_text(CONFIG.format(digest=digest(BOB)))
    monkeypatch.setenv("TEAM_ONE", ADA)
    settings = Settings(**read_config(path), host="0.0.0.0")
    check_binding(settings, is_forced=False)  # keys by name are keys
    assert ADA not in settings.model_dump_json()
    sent = Settings.model_validate_json(settings.model_dump_json())  # as to a run process
    limits = limits_by_owner(sent)
    assert limits[digest(ADA)[:32]] == KeyLimits(requests_per_day=100, usd_per_day=2.5)
    assert limits[digest(BOB)[:32]] == KeyLimits(requests_per_day=100)
    assert has_limits(sent) and not has_limits(Settings(keys={"b": NamedKey(sha256=digest(BOB))}))
    monkeypatch.delenv("TEAM_ONE")
    with pytest.raises(ConfigurationError, match="TEAM_ONE"):
        create_app(settings)


@pytest.mark.parametrize(
    "text",
    [
        "[keys.one]\nrequests_per_day = 1",
        '[keys.one]\nenv = "A"\nsha256 = "00"',
        '[keys.one]\nkey = "secret"',
        '[keys."a\\r\\nx: y"]\nenv = "A"',
        "[limits]\nrequests_per_day = 0",
        "[limits]\nper_day = 1",
        "[prices.m]\ninput = -1\noutput = 1",
        "keys = 3",
        "limits = 3",
    ],
)
def test_wrong_configurations_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=str(path)):
        read_config(path)
