"""The MCP server's tools, by the official SDK's own client: both ways that MCP asks a client, what may be read, who may decide, what is left behind."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import ConfigurationError, aanswer
from langgraph_rlm.mcp import create_server
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root, thread

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from mcp import Client
from mcp_types import ElicitResult, ListRootsResult, Root
from pydantic import PrivateAttr

MODES = ["auto", "legacy"]
"""MCP as of 2026-07-28, where a client is asked by a result; and before, where the server asks it."""
COUNT = "parts = llm_query_batched([context[:4], context[4:]])\nFINAL(f'{len(context)} {parts}')"
BUY = "FINAL(buy('tea'))"


class Shop:
    """A tool that buys, and what it has bought."""

    def __init__(self) -> None:
        self.bought: list[str] = []

    def graph(self, *cells: str, allowed: Any = True, **options: Any) -> Any:
        def buy(item: str) -> str:
            """Buy something."""
            self.bought.append(item)
            return f"bought {item}"

        return rlm(
            root(*(cells or (BUY,))),
            tools=[buy],
            interrupt_on={"buy": allowed},
            checkpointer=InMemorySaver(),
            **options,
        )


class Person:
    """A client's user, who fills in forms one by one, and keeps what was shown."""

    def __init__(self, *given: Any) -> None:
        self.shown: list[str] = []
        self.forms: list[dict[str, Any]] = []
        self._given = list(given)

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        self.shown.append(params.message)
        self.forms.append(params.requested_schema)
        given = self._given.pop(0)
        if isinstance(given, str):
            return ElicitResult(action=given)
        return ElicitResult(action="accept", content=given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "a.txt").write_text("the code is 4711\n")
    (inside / "sub" / "b.txt").write_text("nothing of note\n")
    (tmp_path / "secret.txt").write_text("password")
    os.symlink(tmp_path / "secret.txt", inside / "link.txt")
    return inside


def counts(**options: Any) -> Any:
    return rlm(root(COUNT), checkpointer=InMemorySaver(), **options)


class Slow(ScriptedModel):
    """A model that takes its time, and knows how often it is at work."""

    _now: int = PrivateAttr(default=0)

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        self._now += 1
        try:
            return await super()._agenerate(*args, **kwargs)
        finally:
            self._now -= 1

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        self._now += 1
        try:
            async for chunk in super()._astream(*args, **kwargs):
                yield chunk
        finally:
            self._now -= 1

    def works(self) -> bool:
        """Whether a call is under way."""
        return self._now > 0

    def rests(self) -> bool:
        """Whether none is."""
        return not self.works()


def slow(seconds: float = 60) -> Slow:
    return Slow(replies=[cell("FINAL('late')")], seconds=seconds)


def with_saver(model: ScriptedModel) -> Any:
    return rlm(model, checkpointer=InMemorySaver())


async def ask(client: Client, **arguments: Any) -> dict[str, Any]:
    """Call `ask`, which has to succeed."""
    return await call(client, "ask", **{"question": "What?", **arguments})


async def call(client: Client, name: str, /, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def refusal(client: Client, name: str, /, **arguments: Any) -> str:
    """What a call's error says."""
    result = await client.call_tool(name, arguments)
    assert result.is_error
    return result.content[0].text  # pyright: ignore[reportAttributeAccessIssue]


@asynccontextmanager
async def roots_of(
    server: Any, mode: str, *folders: Path
) -> AsyncIterator[tuple[Client, list[Path]]]:
    """A client with roots, and the list of them, which may change."""
    own = list(folders)

    async def told(context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=each.as_uri()) for each in own])  # pyright: ignore[reportArgumentType]

    async with Client(server, mode=mode, list_roots_callback=told) as client:
        yield client, own


# Asking


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_comes_with_what_it_covers_and_costs(mode: str, folder: Path) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    sub = ScriptedModel(answer=lambda _: "part", seconds=0.6)
    async with Client(create_server(counts(sub=sub), folders=[folder]), mode=mode) as client:
        asked = {"question": "What?", "paths": ["a.txt"]}
        result = await client.call_tool("ask", asked, progress_callback=progress)
    out = result.structured_content
    assert out is not None
    assert (out["state"], out["stop_reason"]) == ("done", "answered")
    assert out["answer"] == "17 ['part', 'part']"
    assert out["coverage"] == {"seen": 1.0, "bytes": 17, "code_read_all": False}
    assert (out["usage"]["turns"], out["usage"]["sub_calls"]) == (1, 2)
    assert [each["source"] for each in out["contexts"]] == [str(folder / "a.txt")]
    text = result.content[0].text  # pyright: ignore[reportAttributeAccessIssue]
    assert text.startswith("17 ['part', 'part']\n")
    assert f"thread {out['thread']}" in text
    assert "100% of 17 bytes" in text
    numbers = [done for done, _, _ in told]
    assert numbers
    assert numbers == sorted(set(numbers)), "MCP has each number be larger than the last"


async def test_tools_are_few_short_and_true(folder: Path) -> None:
    async with Client(create_server(counts(), folders=[folder])) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["ask", "follow_up", "status", "resume", "read", "search"]
    assert all(len(json.dumps(tool.input_schema)) < 1000 for tool in tools.values())
    assert all(tool.description and "\n" not in tool.description for tool in tools.values())
    assert all(tool.output_schema is not None for tool in tools.values())
    assert tools["ask"].input_schema["required"] == ["question"]
    assert "answers" not in tools["resume"].input_schema["properties"]


async def test_a_thread_is_asked_more_read_and_searched(folder: Path) -> None:
    async with Client(create_server(counts(), folders=[folder])) as client:
        first = (await ask(client, paths=["."], text="and a text"))["thread"]
        out = await call(client, "follow_up", thread=first, question="And?", text="more of it")
        assert out["answer"].startswith("10 ")
        assert [each["name"] for each in out["contexts"]] == ["files", "text", "context_2"]
        found = await call(client, "search", thread=first, pattern=r"\d+", name="files")
        assert found["total"] == 1
        (match,) = found["matches"]
        assert (match["path"], match["line"], match["text"]) == ("a.txt", 1, "the code is 4711")
        part = await call(
            client, "read", thread=first, name="files", start=match["start"], end=match["end"]
        )
        assert part["text"] == "4711"
        assert (await call(client, "read", thread=first))["text"] == "more of it"
        assert "RE2" in await refusal(client, "search", thread=first, pattern="(?=a)")
        assert "files, text" in await refusal(client, "read", thread=first, name="nothing")


async def test_what_is_read_and_found_is_bounded() -> None:
    async with Client(create_server(counts())) as client:
        first = (await ask(client, text="aaaaaaaaa\n" * 10_000))["thread"]
        part = await call(client, "read", thread=first, end=100_000)
        assert (len(part["text"]), part["length"]) == (20_000, 100_000)
        assert (await call(client, "read", thread=first, start=10**9))["text"] == ""
        found = await call(client, "search", thread=first, pattern="a+", max_matches=100)
        assert (len(found["matches"]), found["total"]) == (100, 10_000)
        assert "max_matches" in await refusal(
            client, "search", thread=first, pattern="a", max_matches=101
        )


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_that_takes_longer_than_the_wait_comes_from_status(mode: str) -> None:
    async with Client(create_server(with_saver(slow(0.5))), mode=mode) as client:
        out = await ask(client, wait_seconds=0.1)
        assert (out["state"], out["answer"]) == ("running", None)
        assert "status" in out["next"]
        refused = await refusal(client, "follow_up", thread=out["thread"], question="And?")
        assert "is running" in refused
        assert (await call(client, "status", thread=out["thread"]))["answer"] == "late"
        assert (await call(client, "resume", thread=out["thread"]))["answer"] == "late"


async def test_a_failed_run_is_the_calls_error_without_secrets_and_can_be_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "very-secret-value")
    replies = iter([OSError("no route with very-secret-value"), cell("FINAL('now')")])
    model = ScriptedModel(answer=lambda _: next(replies))
    async with Client(create_server(rlm(model, checkpointer=InMemorySaver()))) as client:
        result = await client.call_tool("ask", {"question": "What?"})
        assert result.is_error
        out = result.structured_content
        assert out is not None
        assert "no route with [secret]" in out["next"]
        assert "secret-value" not in result.model_dump_json()
        assert (await call(client, "status", thread=out["thread"]))["state"] == "stopped"
        assert (await call(client, "resume", thread=out["thread"]))["answer"] == "now"


async def test_a_graph_needs_a_checkpointer_and_a_question_some_words() -> None:
    with pytest.raises(ConfigurationError, match="checkpointer"):
        create_server(rlm(root(COUNT)))
    async with Client(create_server(counts())) as client:
        assert "empty" in await refusal(client, "ask", question=" ")


# What may be read


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "link.txt", "/etc/passwd", "~/.ssh/id_rsa", "missing", "a.txt\0", "", ".."],
)
async def test_nothing_outside_of_the_folders_is_read(mode: str, path: str, folder: Path) -> None:
    graph = counts()
    async with Client(create_server(graph, folders=[folder / "sub", folder]), mode=mode) as client:
        if path == "":
            return
        refused = await refusal(client, "ask", question="What?", paths=["a.txt", path])
        assert "There is no file" in refused
    assert graph.get_state(thread()).values == {}


async def test_a_folder_gives_away_nothing_that_its_links_lead_to(folder: Path) -> None:
    async with Client(create_server(counts(), folders=[folder])) as client:
        first = (await ask(client, paths=["."]))["thread"]
        assert (await call(client, "search", thread=first, pattern="password"))["total"] == 0


async def test_without_folders_there_are_texts_only() -> None:
    async with Client(create_server(counts())) as client:
        refused = await refusal(client, "ask", question="What?", paths=["/etc/hostname"])
        assert "No folder may be read here" in refused
        assert (await ask(client, text="a text"))["answer"].startswith("6 ")


@pytest.mark.parametrize("mode", MODES)
async def test_a_clients_roots_narrow_the_folders_also_when_they_change(
    mode: str, folder: Path, tmp_path: Path
) -> None:
    server = create_server(counts(), folders=[folder])
    async with roots_of(server, mode, folder / "sub") as (client, own):
        assert (await ask(client, paths=["b.txt"]))["state"] == "done"
        refused = await refusal(client, "ask", question="What?", paths=[str(folder / "a.txt")])
        assert f"({folder / 'sub'})" in refused
        own[:] = [tmp_path]  # it has the folder in it, and does not widen it
        assert (await ask(client, paths=["a.txt"]))["state"] == "done"
        assert "There is no file" in await refusal(
            client, "ask", question="What?", paths=[str(tmp_path / "secret.txt")]
        )
        own.clear()
        assert "No folder" in await refusal(client, "ask", question="What?", paths=["a.txt"])


async def test_without_folders_a_command_reads_roots_or_where_it_stands_but_no_home(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langgraph_rlm.mcp.folders import Folders

    monkeypatch.setenv("HOME", str(tmp_path))
    folders = Folders.of_client(folder)
    assert folders.for_roots(None).folders == [folder]
    assert folders.for_roots([folder / "sub"]).folders == [folder / "sub"]
    for wide in (tmp_path, Path("/"), tmp_path.parent):
        assert Folders.of_client(wide).for_roots(None).folders == []
        assert folders.for_roots([wide]).folders == []


# Who decides


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("given", "answer", "bought"),
    [
        ({"decision": "approve"}, "bought tea", ["tea"]),
        ({"decision": "edit", "arguments": '{"item": "jam"}'}, "bought jam", ["jam"]),
        ({"decision": "respond", "result": "sold out"}, "sold out", []),
    ],
)
async def test_a_call_that_waits_is_a_form_for_the_clients_user(
    mode: str, given: Any, answer: str, bought: list[str]
) -> None:
    shop, person = Shop(), Person(given)
    server = create_server(shop.graph())
    async with Client(server, mode=mode, elicitation_callback=person) as client:
        assert (await ask(client))["answer"] == answer
    assert shop.bought == bought
    (shown,) = person.shown
    assert "A call waits for you: buy" in shown
    assert '"item": "tea"' in shown
    assert person.forms[0]["required"] == ["decision"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("given", [{"decision": "reject", "reason": "too dear"}, "decline"])
async def test_a_user_can_reject(mode: str, given: Any) -> None:
    shop, person = Shop(), Person(given)
    code = "try:\n    buy('tea')\nexcept RuntimeError as error:\n    FINAL(str(error))"
    server = create_server(shop.graph(code))
    async with Client(server, mode=mode, elicitation_callback=person) as client:
        said = "too dear" if given != "decline" else "declined"
        assert said in (await ask(client))["answer"]
    assert shop.bought == []


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_user_leaves_waits_and_is_asked_again_by_resume_alone(mode: str) -> None:
    shop, person = Shop(), Person("cancel", {"decision": "approve"})
    server = create_server(shop.graph())
    async with Client(server, mode=mode, elicitation_callback=person) as client:
        out = await ask(client)
        assert out["state"] == "waiting"
        (waits,) = out["pauses"]
        assert (waits["tool"], waits["arguments"]) == ("buy", {"item": "tea"})
        assert (await call(client, "status", thread=out["thread"]))["state"] == "waiting"
        assert len(person.shown) == 1
        assert (await call(client, "resume", thread=out["thread"]))["answer"] == "bought tea"
    assert shop.bought == ["tea"]


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_that_does_not_fit_is_asked_again_with_why(mode: str) -> None:
    shop = Shop()
    bad = [
        {"decision": "edit", "arguments": '{"item": '},
        {"decision": "edit", "arguments": '{"price": 3}'},
        {"decision": "always"},
    ]
    person = Person(*bad, {"decision": "approve"})
    server = create_server(shop.graph())
    async with Client(server, mode=mode, elicitation_callback=person) as client:
        assert (await ask(client))["answer"] == "bought tea"
    assert "no JSON" in person.shown[1]
    assert "price" in person.shown[2]
    assert "decision must be one of" in person.shown[3]


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_answers_nonsense_does_not_go_round_for_ever(mode: str) -> None:
    shop, person = Shop(), Person(*[{"decision": ""}] * 50)
    server = create_server(shop.graph())
    async with Client(server, mode=mode, elicitation_callback=person) as client:
        assert (await ask(client))["state"] == "waiting"
    assert len(person.shown) == 8
    assert shop.bought == []


@pytest.mark.parametrize("mode", MODES)
async def test_several_calls_that_wait_are_each_asked_about_once(mode: str) -> None:
    shop = Shop()
    person = Person(*[{"decision": "approve"}] * 4)
    code = "FINAL([buy('a'), buy('b'), buy('c'), buy('d')])"
    server = create_server(shop.graph(code))
    async with Client(server, mode=mode, elicitation_callback=person) as client:
        await ask(client)
    assert shop.bought == ["a", "b", "c", "d"]


async def test_a_form_hides_nothing_and_one_that_is_too_long_is_not_shown() -> None:
    shop, person = Shop(), Person({"decision": "approve"})
    server = create_server(shop.graph("FINAL(buy('tea\\u202e\\u200b\\x1b[2J'))"))
    async with Client(server, elicitation_callback=person) as client:
        await ask(client)
    assert "tea\\u202e\\u200b\\u001b[2J" in person.shown[0]
    shop, person = Shop(), Person()
    server = create_server(shop.graph("FINAL(buy('tea' * 10000))"))
    async with Client(server, elicitation_callback=person) as client:
        assert (await ask(client))["state"] == "waiting"
    assert shop.bought == []


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_cannot_approve_its_own_calls(mode: str) -> None:
    shop = Shop()
    graph = shop.graph()
    async with Client(create_server(graph), mode=mode) as client:
        out = await ask(client)
        assert out["state"] == "waiting"
        assert "langgraph-rlm ui" in out["next"]
        yes = {out["pauses"][0]["id"]: {"type": "approve"}}
        again = await call(client, "resume", thread=out["thread"], answers=yes)
        assert again["state"] == "waiting"
        assert shop.bought == []
        await aanswer(graph, thread(out["thread"]), yes, by="ann")  # a person, elsewhere
        assert (await call(client, "resume", thread=out["thread"]))["answer"] == "bought tea"


async def test_an_agent_can_where_its_owner_says_so() -> None:
    shop = Shop()
    async with Client(create_server(shop.graph(), agent_may_approve=True)) as client:
        out = await ask(client)
        id = out["pauses"][0]["id"]
        answers = {id: {"type": "bribe"}}
        assert "approve" in await refusal(client, "resume", thread=out["thread"], answers=answers)
        answers = {id: {"type": "approve"}}
        out = await call(client, "resume", thread=out["thread"], answers=answers)
        assert out["answer"] == "bought tea"


# Whose a thread is


@pytest.mark.parametrize("id", ["t", "mcp-", "mcp-t", "mcp-" + "0" * 32, "", "mcp-é" + "0" * 12])
async def test_threads_that_no_ask_has_given_are_not_there(id: str) -> None:
    graph = counts()
    await graph.ainvoke({"query": "What?", "context": "of another door"}, thread(id or "t"))
    async with Client(create_server(graph)) as client:
        for tool, more in (
            ("status", {}),
            ("resume", {}),
            ("read", {}),
            ("search", {"pattern": "door"}),
            ("follow_up", {"question": "What?"}),
        ):
            assert "There is no thread" in await refusal(client, tool, thread=id, **more)


# Ends


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("mode", MODES)
async def test_a_cancelled_request_stops_its_run_which_can_be_resumed(mode: str) -> None:
    model = slow(1)
    async with Client(create_server(with_saver(model)), mode=mode) as client:
        out = await ask(client, wait_seconds=0)
        asking = asyncio.create_task(client.call_tool("status", {"thread": out["thread"]}))
        await until(model.works)
        await asyncio.sleep(0.3)  # until the request is there
        asking.cancel()
        await until(model.rests)
        stopped = await call(client, "status", thread=out["thread"])
        assert stopped["state"] == "stopped"
        assert "resume" in stopped["next"]
        assert (await call(client, "resume", thread=out["thread"]))["answer"] == "late"


@pytest.mark.parametrize("mode", MODES)
async def test_a_cancelled_ask_leaves_nothing(mode: str) -> None:
    model = slow()
    async with Client(create_server(with_saver(model)), mode=mode) as client:
        before = len(asyncio.all_tasks())
        asking = asyncio.create_task(client.call_tool("ask", {"question": "What?"}))
        await until(model.works)
        asking.cancel()
        await until(model.rests)
        await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_run_that_another_call_waits_for_is_not_stopped() -> None:
    async with Client(create_server(with_saver(slow(0.7))), mode="legacy") as client:
        thread = (await ask(client, wait_seconds=0))["thread"]
        waits = [asyncio.create_task(call(client, "status", thread=thread)) for _ in range(2)]
        await asyncio.sleep(0.3)
        waits[0].cancel()
        assert (await waits[1])["answer"] == "late"


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_that_nobody_waits_for_is_stopped(mode: str) -> None:
    model = slow()
    server = create_server(with_saver(model), abandoned_seconds=0.3)
    async with Client(server, mode=mode) as client:
        out = await ask(client, wait_seconds=0)
        await until(model.works)
        await until(model.rests)
        assert (await call(client, "status", thread=out["thread"]))["state"] == "stopped"


async def test_interpreters_that_nobody_asks_further_are_ended() -> None:
    graph = counts()
    async with Client(create_server(graph, abandoned_seconds=0.3)) as client:
        first = (await ask(client, text="a text"))["thread"]
        assert graph.rlm.sessions.idle == 1
        await until(lambda: graph.rlm.sessions.idle == 0)
        out = await call(client, "follow_up", thread=first, question="And?")
        assert out["state"] == "done"


@pytest.mark.parametrize("mode", MODES)
async def test_a_server_that_ends_stops_its_runs(mode: str) -> None:
    model = slow()
    async with Client(create_server(with_saver(model)), mode=mode) as client:
        await ask(client, wait_seconds=0)
        await until(model.works)
    assert model.rests()


async def test_there_is_a_most_of_questions_at_once() -> None:
    async with Client(create_server(with_saver(slow()), max_runs=2)) as client:
        asked = {"question": "What?", "wait_seconds": 0}
        results = await asyncio.gather(*(client.call_tool("ask", asked) for _ in range(5)))
        refused = [result for result in results if result.is_error]
        assert len(refused) == 3
        assert all("ask again" in str(result.content) for result in refused)


def test_the_sdks_absence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'langgraph-rlm\[mcp\]'"):
        create_server(counts())
