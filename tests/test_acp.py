"""The Agent Client Protocol: sessions, prompts, updates, permissions, cancelling and loading, with the official SDK's client."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import acp
import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from langgraph_rlm import BlobStore, aanswer
from langgraph_rlm.acp.lines import Lines
from langgraph_rlm.acp.storing import stored
from langgraph_rlm.testing import ScriptedModel, cell

from .acp_client import Client, connected, content_of
from .models import rlm, root


@pytest.fixture
async def saver(tmp_path: Path) -> AsyncIterator[AsyncSqliteSaver]:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "project"
    found.mkdir()
    (found / "a.txt").write_text("alpha one")
    (found / "b.txt").write_text("beta two")
    (tmp_path / "secret.txt").write_text("secret")
    return found


def text(said: str) -> list[Any]:
    """A prompt of text alone."""
    return [acp.text_block(said)]


async def test_a_prompt_is_answered_and_its_work_is_shown(saver: Any, folder: Path) -> None:
    code = "got = llm_query_batched(['a', 'bb', 'ccc'])\nprint(got)"
    model = ScriptedModel(
        replies=[f"First I ask.\n\n{cell(code)}", cell("FINAL('so it is: ' + got[2])")]
    )
    client = Client()
    async with connected(rlm(model, checkpointer=saver), client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        done = await agent.prompt(session_id=session.session_id, prompt=text("How long?"))
    assert done.stop_reason == "end_turn"
    assert client.said() == "so it is: len=3"
    assert "First I ask." in client.thought()
    first, batch, second = client.calls().values()
    assert (first.kind, first.status) == ("execute", "completed")
    assert "llm_query_batched" in content_of(first) and "len=2" in content_of(first)
    assert (batch.title, batch.status) == ("llm_query_batched 3/3", "completed")
    assert second.status == "completed"
    assert done.usage.total_tokens > 0
    told = done.field_meta["langgraph-rlm"]
    assert (told["stop_reason"], told["usage"]["sub_calls"]) == ("answered", 3)


def buys(*codes: str, saver: Any, **options: Any) -> Any:
    """A graph with a tool that needs approval, and the list of what was bought."""
    bought: list[str] = []

    def buy(item: str) -> str:
        """Buy something."""
        bought.append(item)
        return f"bought {item}"

    given = {"tools": [buy], "interrupt_on": {"buy": True}, **options}
    return rlm(root(*codes), checkpointer=saver, **given), bought


@pytest.mark.parametrize(
    ("chosen", "said", "bought"),
    [
        ("allow", "bought tea", ["tea"]),
        ("reject", "no", []),
        ("anything else", "no", []),
    ],
)
async def test_a_call_that_waits_is_a_permission_request(
    saver: Any, folder: Path, chosen: str, said: str, bought: list[str]
) -> None:
    code = "try:\n    FINAL(buy('tea'))\nexcept RuntimeError:\n    FINAL('no')"
    graph, got = buys(code, saver=saver)
    client = Client(lambda call, options: chosen)
    async with connected(graph, client, by="ann") as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        done = await agent.prompt(session_id=session.session_id, prompt=text("Buy tea"))
    assert (done.stop_reason, client.said(), got) == ("end_turn", said, bought)
    ((call, options),) = client.asked
    assert [option.kind for option in options] == ["allow_once", "allow_always", "reject_once"]
    assert (call.title, call.raw_input, call.status) == ("buy", {"item": "tea"}, "pending")
    assert call.tool_call_id in client.calls()  # the client knows it already


async def test_allow_always_is_for_that_tool_in_that_session(saver: Any, folder: Path) -> None:
    graph, got = buys("buy('a')\nbuy('b')\nFINAL('ok')", "buy('c')\nFINAL('ok')", saver=saver)
    client = Client(lambda call, options: "allow-always")
    async with connected(graph, client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=text("Buy"))
        assert len(client.asked) == 1
        await agent.prompt(session_id=session.session_id, prompt=text("More"))
        assert len(client.asked) == 1
        other = await agent.new_session(cwd=str(folder), mcp_servers=[])
        await agent.prompt(session_id=other.session_id, prompt=text("Buy"))
        assert len(client.asked) == 2
    assert got == ["a", "b", "c", "a", "b"]


async def test_a_question_that_is_left_open_waits_and_is_asked_again(
    saver: Any, folder: Path
) -> None:
    graph, got = buys("FINAL(buy('tea'))", saver=saver)
    answers = [None, "allow"]
    client = Client(lambda call, options: answers.pop(0))
    async with connected(graph, client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        left = await agent.prompt(session_id=session.session_id, prompt=text("Buy tea"))
        assert (left.stop_reason, got) == ("cancelled", [])
        assert "/continue asks again" in client.said()
        client.forget()
        done = await agent.prompt(session_id=session.session_id, prompt=text("/continue"))
        assert (done.stop_reason, client.said(), got) == ("end_turn", "bought tea", ["tea"])
        client.forget()
        await agent.prompt(session_id=session.session_id, prompt=text("/continue"))
        assert "nothing to continue" in client.said()


async def test_another_prompt_drops_a_call_that_waits(saver: Any, folder: Path) -> None:
    graph, got = buys("FINAL(buy('tea'))", "FINAL('hello')", saver=saver)
    client = Client(lambda call, options: None)
    async with connected(graph, client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=text("Buy tea"))
        client.forget()
        done = await agent.prompt(session_id=session.session_id, prompt=text("Say hello instead"))
    assert (done.stop_reason, client.said(), got) == ("end_turn", "hello", [])
    assert "set aside" in client.thought()


async def test_the_result_of_an_external_tool_cannot_be_asked_for_and_this_is_said(
    saver: Any, folder: Path
) -> None:
    price = {"name": "price", "description": "", "parameters": {"type": "object", "properties": {}}}
    graph = rlm(root("FINAL(price())"), external_tools=[price], checkpointer=saver)
    client = Client()
    async with connected(graph, client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        done = await agent.prompt(session_id=session.session_id, prompt=text("How much?"))
        assert (done.stop_reason, client.asked) == ("end_turn", [])
        assert done.field_meta["langgraph-rlm"]["state"] == "waiting"
        assert "`price` runs elsewhere" in client.said()
        assert f"langgraph-rlm resume {session.session_id}" in client.said()


async def test_cancel_stops_the_run_and_continue_goes_on_with_it(saver: Any, folder: Path) -> None:
    model = ScriptedModel(
        replies=[cell("x = 1"), cell("FINAL(f'{x}: ' + llm_query('slow'))")], seconds=0.0
    )
    is_slow = True

    async def slow(item: str) -> str:
        """Take long, the first time."""
        if is_slow:
            await asyncio.Event().wait()
        return item

    model = ScriptedModel(replies=[cell("x = 1"), cell("FINAL(f'{x}: ' + slow('done'))")])
    client = Client()
    async with connected(rlm(model, tools=[slow], checkpointer=saver), client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        asking = asyncio.create_task(
            agent.prompt(session_id=session.session_id, prompt=text("Take your time"))
        )
        await client.until(lambda told: [c for c in told.calls().values() if c.title == "slow"])
        with pytest.raises(acp.RequestError, match="answers a prompt"):
            await agent.prompt(session_id=session.session_id, prompt=text("Another"))
        await agent.cancel(session_id=session.session_id)
        done = await asyncio.wait_for(asking, 10)
        assert done.stop_reason == "cancelled"
        assert {call.status for call in client.calls().values()} == {"completed", "failed"}
        assert "/continue goes on with it" in client.said()
        client.forget()
        is_slow = False
        done = await agent.prompt(session_id=session.session_id, prompt=text("/continue"))
        assert (done.stop_reason, client.said()) == ("end_turn", "1: done")
    assert model.calls == 2


async def test_a_session_is_loaded_from_its_thread_by_another_process(
    saver: Any, folder: Path
) -> None:
    graph, _ = buys(
        "FINAL(buy('tea') + str(len(llm_query_batched(['a', 'b']))))", "FINAL('two')", saver=saver
    )
    before, after = Client(), Client()
    async with connected(graph, before) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        id = session.session_id
        await agent.prompt(session_id=id, prompt=text("One?"))
        await agent.prompt(session_id=id, prompt=text("Two?"))
    async with connected(graph, after) as agent:
        (listed,) = (await agent.list_sessions(cwd=str(folder))).sessions
        assert (listed.session_id, listed.title, listed.cwd) == (id, "One?", str(folder))
        assert not (await agent.list_sessions(cwd="/elsewhere")).sessions
        await agent.load_session(cwd=str(folder), session_id=id, mcp_servers=[])
        kinds = [update.session_update for _, update in after.updates]
        assert kinds.index("user_message_chunk") < kinds.index("tool_call")
        assert [c.content.text for c in after.of("user_message_chunk")] == ["One?", "Two?"]
        assert [c.content.text for c in after.of("agent_message_chunk")] == ["bought tea2", "two"]
        shown = [(c.title, c.status) for c in before.calls().values()]
        assert [(c.title, c.status) for c in after.calls().values()] == shown
        after.forget()
        await agent.prompt(session_id=id, prompt=text("Three?"))
        assert after.said() == "two" and not after.of("user_message_chunk")
        assert len(after.calls()) == 1  # of the new question alone


async def test_what_is_not_a_session_of_this_protocol_is_not_opened(
    saver: Any, folder: Path
) -> None:
    graph = rlm(root("FINAL('1')"), checkpointer=saver)
    await graph.ainvoke({"query": "private"}, {"configurable": {"thread_id": "of-ask"}})
    async with connected(graph) as agent:
        for id in ("of-ask", "nothing", "", "../x", "a" * 100_000):
            with pytest.raises(acp.RequestError, match="There is no session") as refused:
                await agent.load_session(cwd=str(folder), session_id=id, mcp_servers=[])
            assert refused.value.code == -32002 and len(str(refused.value)) < 500
            with pytest.raises(acp.RequestError, match="There is no session"):
                await agent.prompt(session_id=id, prompt=text("Hello"))
        assert not (await agent.list_sessions()).sessions


async def test_two_sessions_work_side_by_side(saver: Any, folder: Path) -> None:
    graph = rlm(
        ScriptedModel(replies=[cell("FINAL(llm_query(context))")], seconds=0.05),
        sub=lambda said: said.split()[-1].upper(),
        checkpointer=saver,
    )
    client = Client()
    async with connected(graph, client) as agent:

        async def ask(name: str) -> tuple[str, str]:
            session = await agent.new_session(cwd=str(folder), mcp_servers=[])
            prompt = [acp.text_block("Shout"), acp.resource_link_block(name, uri_of(folder / name))]
            await agent.prompt(session_id=session.session_id, prompt=prompt)
            return session.session_id, client.said(session.session_id)

        one, two = await asyncio.gather(ask("a.txt"), ask("b.txt"))
    assert (one[1], two[1]) == ("ONE", "TWO") and one[0] != two[0]


def uri_of(path: Path) -> str:
    """The URI that a client names a file by."""
    return path.as_uri()


def block(update: Any) -> Any:
    """A resource with its content."""
    return acp.resource_block(update)


async def contexts_of(model: ScriptedModel) -> str:
    """What the root model was told of the question and its contexts."""
    return model.prompts[-1][-1].text


async def test_what_a_prompt_names_is_its_context(saver: Any, folder: Path) -> None:
    code = "FINAL([a_txt, notes_md, notes_md_2, sorted(src), 'image' in str(image)])"
    (folder / "src").mkdir()
    (folder / "src" / "c.py").write_text("c = 1")
    model = root(code)
    client = Client()
    async with connected(rlm(model, checkpointer=saver), client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        prompt = [
            acp.text_block("Compare "),
            acp.resource_link_block("a.txt", uri_of(folder / "a.txt") + "#L1:2"),
            acp.text_block(" with "),
            block(acp.embedded_text_resource("zed:///x/notes.md", "unsaved text")),
            block(acp.embedded_blob_resource("file:///nowhere/notes.md", "Ynl0ZXM=")),
            acp.resource_link_block("src", uri_of(folder / "src")),
            acp.resource_link_block("a.txt", uri_of(folder / "a.txt")),
            acp.resource_link_block("page", "https://example.org/page"),
            acp.image_block(PIXEL, "image/png"),
        ]
        await agent.prompt(session_id=session.session_id, prompt=prompt)
    assert client.said() == '["alpha one","unsaved text","bytes",["c.py"],true]'
    said = await contexts_of(model)
    assert "Compare  `a.txt#L1:2` (in `a_txt`)  with  `notes.md` (in `notes_md`)" in said
    assert "https://example.org/page, which is not read" in said


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


async def test_the_whole_folder_is_a_context_only_where_it_is_asked_for(
    saver: Any, folder: Path
) -> None:
    (folder / ".hidden").write_text("hidden")
    (folder / "out").symlink_to(folder.parent)
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    client = Client()
    graph = rlm(root("FINAL('folder' in globals())", "FINAL(folder)"), checkpointer=saver)
    async with connected(graph, client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        id = session.session_id
        (option,) = session.config_options
        assert (option.id, option.current_value) == ("files", "named")
        await agent.prompt(session_id=id, prompt=text("Which files?"))
        client.forget()
        changed = await agent.set_config_option(config_id="files", session_id=id, value="folder")
        assert changed.config_options[0].current_value == "folder"
        await agent.prompt(session_id=id, prompt=text("And now?"))
        assert client.said() == '{"a.txt":"alpha one","b.txt":"beta two"}'
        with pytest.raises(acp.RequestError, match="'named' or 'folder'"):
            await agent.set_config_option(config_id="files", session_id=id, value="all")


OUTSIDE = (
    "file:///etc/passwd",
    "FOLDER/../secret.txt",
    "FOLDER/%2e%2e/secret.txt",
    "FOLDER/link.txt",
    "FOLDER/missing.txt",
    "FOLDER/a.txt%00",
    "file://elsewhere/share/a.txt",
    "file:relative.txt",
    "FOLDER/" + "a" * 5_000,
    "file:///" + "a/" * 50_000,
)


async def test_a_file_outside_of_the_session_is_refused(saver: Any, folder: Path) -> None:
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    model = root("FINAL(1)")
    async with connected(rlm(model, checkpointer=saver)) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        for uri in OUTSIDE:
            link = acp.resource_link_block("x", uri.replace("FOLDER", uri_of(folder)))
            with pytest.raises(acp.RequestError, match=r"There is no file|another machine") as no:
                await agent.prompt(session_id=session.session_id, prompt=[*text("Read"), link])
            assert no.value.code == -32602
        assert model.calls == 0
        other = await agent.new_session(
            cwd=str(folder), additional_directories=[str(folder.parent)], mcp_servers=[]
        )
        link = acp.resource_link_block("x", uri_of(folder.parent / "secret.txt"))
        await agent.prompt(session_id=other.session_id, prompt=[*text("Read"), link])
    assert model.calls == 1


async def test_sessions_stay_in_the_folders_that_are_allowed(saver: Any, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "up").symlink_to(folder.parent)
    graph = rlm(root("FINAL(1)"), checkpointer=saver)
    async with connected(graph, allowed=[folder]) as agent:
        await agent.new_session(cwd=str(folder / "sub"), mcp_servers=[])
        wrongs = (folder.parent, folder / "up", folder / "missing", folder / "a.txt", "sub")
        for wrong in (*wrongs, "/\0", "/" + "a" * 5_000, "/" + "a/" * 50_000, ""):
            with pytest.raises(acp.RequestError):
                await agent.new_session(cwd=str(wrong), mcp_servers=[])
        with pytest.raises(acp.RequestError):
            await agent.new_session(
                cwd=str(folder), additional_directories=["/etc"], mcp_servers=[]
            )


async def test_what_cannot_be_a_prompt_is_refused(saver: Any, folder: Path) -> None:
    async with connected(rlm(root("FINAL(1)"), checkpointer=saver)) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        many = [block(acp.embedded_text_resource(f"x:///{n}.txt", "x")) for n in range(51)]
        for wrong, said in (
            ([], "no text"),
            (text("  "), "no text"),
            ([acp.image_block(PIXEL, "image/png")], "no text"),
            ([*text("Look"), acp.image_block("bm8=", "image/png")], "no image"),
            ([*text("Look"), acp.audio_block("???", "audio/wav")], "not base64"),
            ([*text("Look"), block(acp.embedded_blob_resource("x:///b", "???"))], "not base64"),
            ([*text("Look"), *many], "takes 50 files"),
        ):
            with pytest.raises(acp.RequestError, match=said) as refused:
                await agent.prompt(session_id=session.session_id, prompt=wrong)
            assert refused.value.code == -32602
        done = await agent.prompt(session_id=session.session_id, prompt=text("x" * 1_000_000))
        assert done.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"max_iterations": 1}, "max_turn_requests"), ({"max_tokens": 700}, "max_tokens")],
)
async def test_a_limit_is_a_stop_reason(saver: Any, folder: Path, limits: Any, reason: str) -> None:
    graph = rlm(root("x = 1", "x = 2", "x = 3", "x = 4"), limits=limits, checkpointer=saver)
    client = Client()
    async with connected(graph, client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        done = await agent.prompt(session_id=session.session_id, prompt=text("Go"))
    assert done.stop_reason == reason
    assert "The run reached its limit" in client.thought() + client.said()
    assert done.field_meta["langgraph-rlm"]["stop_reason"] in limits


async def test_an_error_of_a_model_is_told_without_its_key_and_can_be_tried_again(
    saver: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "very-secret-value")
    fails = [RuntimeError("401 with very-secret-value, sk-abcdefghijklmnop"), None]

    def answer(said: str) -> Any:
        return fails.pop(0) or cell("FINAL('fine')")

    client = Client()
    async with connected(rlm(ScriptedModel(answer=answer), checkpointer=saver), client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        with pytest.raises(acp.RequestError, match="401") as failed:
            await agent.prompt(session_id=session.session_id, prompt=text("Go"))
        assert "very-secret" not in str(failed.value) and "sk-abc" not in str(failed.value)
        await agent.prompt(session_id=session.session_id, prompt=text("/continue"))
    assert client.said() == "fine"


async def test_mcp_servers_of_a_client_are_told_to_be_unused(saver: Any, folder: Path) -> None:
    client = Client()
    async with connected(rlm(root("FINAL(1)"), checkpointer=saver), client) as agent:
        server = acp.schema.McpServerStdio(name="files", command="/bin/false", args=[], env=[])
        session = await agent.new_session(cwd=str(folder), mcp_servers=[server])
        await agent.prompt(session_id=session.session_id, prompt=text("Go"))
        assert "MCP servers of this client are not used: files" in client.thought()
        (told,) = client.of("available_commands_update")
        assert [command.name for command in told.available_commands] == ["continue"]


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[" * 100_000,
        b'{"a":"' + b"x" * 2_000,
        b"[1, 2]",
        b'{"id": [], "result": 1}',
        b'{"id": 1, "method": []}',
        b'{"id": 0, "error": 5}',
    ],
)
async def test_a_line_that_is_no_message_is_answered_and_the_next_one_is_read(line: bytes) -> None:
    reads, writes = os.pipe()
    out, back = os.pipe()
    lines = Lines(reads, back, most_bytes=1_000)
    meta = b'{"id": 1, "method": "a", "params": {"x": 1, "_meta": {"x": 2, "self": 3}}}'
    threading.Thread(target=os.write, args=(writes, line + b"\n\n" + meta + b"\n")).start()
    assert await lines.receive() == {"id": 1, "method": "a", "params": {"x": 1}}
    assert json.loads(os.read(out, 10_000))["error"]["code"] in (-32700, -32600)
    os.close(writes)
    assert await lines.receive() is None
    for descriptor in (reads, out, back):
        os.close(descriptor)


async def test_the_calls_of_children_are_asked_too(saver: Any, folder: Path) -> None:
    got: list[str] = []

    def answer(said: str) -> str:
        if "Question:\n\nShop" in said:
            return cell("FINAL(rlm_query_batched(['one', 'two']))")
        return cell("FINAL(buy('tea'))")

    def buy(item: str) -> str:
        """Buy something."""
        got.append(item)
        return item

    graph = rlm(
        ScriptedModel(answer=answer),
        sub=ScriptedModel(answer=answer),
        tools=[buy],
        interrupt_on={"buy": True},
        limits={"max_depth": 2},
        checkpointer=saver,
    )
    client = Client()
    async with connected(graph, client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=text("Shop"))
    assert (client.said(), got) == ('["tea","tea"]', ["tea", "tea"])
    assert len({call.tool_call_id for call, _ in client.asked}) == 2
    shown = client.calls()
    assert all(shown[call.tool_call_id].status == "completed" for call, _ in client.asked)


async def test_an_answer_that_somebody_else_gave_first_counts(saver: Any, folder: Path) -> None:
    graph, got = buys(
        "try:\n    FINAL(buy('tea'))\nexcept RuntimeError as error:\n    FINAL('no')", saver=saver
    )

    async def late(call: Any, options: Any) -> str:
        config: Any = {"configurable": {"thread_id": ids[0]}}
        (pause,) = (await graph.aget_state(config)).interrupts
        await aanswer(graph, config, {pause.id: {"type": "reject"}}, by="the page")
        return "allow"

    client = Client(late)
    ids: list[str] = []
    async with connected(graph, client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        ids.append(session.session_id)
        await agent.prompt(session_id=session.session_id, prompt=text("Buy tea"))
    assert (client.said(), got) == ("no", [])


async def test_a_thread_that_another_process_runs_is_busy(saver: Any, folder: Path) -> None:
    from langgraph_rlm.pregel.leases import database_of, lease

    graph = rlm(root("FINAL(1)"), checkpointer=saver)
    async with connected(graph) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        async with lease(await database_of(saver), session.session_id):
            with pytest.raises(acp.RequestError, match="is running") as refused:
                await agent.prompt(session_id=session.session_id, prompt=text("Go"))
            assert refused.value.code == -32600
        await agent.prompt(session_id=session.session_id, prompt=text("Go"))


async def test_a_client_that_cannot_be_asked_leaves_the_call_open(saver: Any, folder: Path) -> None:
    graph, got = buys("FINAL(buy('tea'))", saver=saver)

    def cannot(call: Any, options: Any) -> Any:
        raise acp.RequestError.method_not_found("session/request_permission")

    client = Client(cannot)
    async with connected(graph, client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        done = await agent.prompt(session_id=session.session_id, prompt=text("Buy tea"))
    assert (done.stop_reason, got) == ("cancelled", [])
    assert "still waits" in client.said()


@pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")
async def test_files_that_code_gives_back_come_with_the_answer_once(
    saver: Any, folder: Path
) -> None:
    writes = "open('out/t.csv', 'w').write('a,b')\nFINAL('done')"
    client = Client()
    graph = rlm(root(writes, "FINAL('same')"), sandbox="local", checkpointer=saver)
    async with connected(graph, client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=text("Write"))
        (file,) = [c for c in client.of("agent_message_chunk") if c.content.type == "resource"]
        assert file.content.resource.mime_type == "text/csv"
        assert file.content.resource.blob == "YSxi" and client.said() == "done"
        client.forget()
        await agent.prompt(session_id=session.session_id, prompt=text("Again"))
        assert [c.content.type for c in client.of("agent_message_chunk")] == ["text"]


async def test_a_larger_graph_that_takes_messages_is_an_agent_too(saver: Any, folder: Path) -> None:
    inner, got = buys("FINAL(buy('tea'))", saver=None)
    builder: Any = StateGraph(MessagesState)
    builder.add_node("rlm", inner)
    builder.add_edge(START, "rlm")
    client = Client()
    async with connected(builder.compile(checkpointer=saver), client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        done = await agent.prompt(session_id=session.session_id, prompt=text("Buy tea"))
        assert (done.stop_reason, client.said(), got) == ("end_turn", "bought tea", ["tea"])
        assert {call.status for call in client.calls().values()} == {"completed"}
        await agent.prompt(session_id=session.session_id, prompt=text("More tea"))
        client.forget()
        await agent.load_session(
            cwd=str(folder), session_id=session.session_id, mcp_servers=[]
        )  # the node is another RLM each time
        asked = [chunk.content.text for chunk in client.of("user_message_chunk")]
        assert asked[0] == "Buy tea" and asked[1].endswith("More tea") and len(asked) == 2
        assert client.said() == "bought teabought tea" and len(client.calls()) == 4
        link = acp.resource_link_block("a.txt", uri_of(folder / "a.txt"))
        with pytest.raises(acp.RequestError, match="takes questions only"):
            await agent.prompt(session_id=session.session_id, prompt=[*text("Read"), link])


async def test_a_session_that_is_closed_is_stopped_and_can_be_loaded(
    saver: Any, folder: Path
) -> None:
    graph = rlm(root("FINAL(1)"), checkpointer=saver)
    client = Client()
    async with connected(graph, client, files="folder") as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        assert session.config_options[0].current_value == "folder"
        await agent.prompt(session_id=session.session_id, prompt=text("Go"))
        await agent.close_session(session_id=session.session_id)
        with pytest.raises(acp.RequestError, match="There is no session"):
            await agent.prompt(session_id=session.session_id, prompt=text("Go"))
        await agent.resume_session(cwd=str(folder), session_id=session.session_id)
        client.forget()
        await agent.prompt(session_id=session.session_id, prompt=text("Go"))
        assert client.said() == "1" and not client.of("user_message_chunk")


async def test_the_reading_of_many_files_is_shown_and_stops_when_it_is_cancelled(
    folder: Path, tmp_path: Path
) -> None:
    for number in range(1_000):
        (folder / f"{number}.txt").write_text(str(number))
    blobs, told = BlobStore.open(tmp_path / "blobs"), list[Any]()

    async def tell(updates: Any) -> None:
        told.extend(updates)

    contexts = {"folder": folder, "again": folder}
    assert (await stored(contexts, blobs, tell, every=0.01) or {}).keys() == contexts.keys()
    assert "of 1,002" in told[-1].title and told[-1].status == "completed"
    assert told[0].session_update == "tool_call" and told[0].kind == "read"
    reading = asyncio.create_task(stored(contexts, blobs, tell, every=0.01))
    await asyncio.sleep(0.02)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_pause_of_several_calls_asks_about_each(saver: Any, folder: Path) -> None:
    """Such as that of LangChain's middleware for agents."""
    review = [{"action_name": "buy", "allowed_decisions": ["approve", "reject"]}]
    calls = [{"name": "buy", "args": {"item": item}} for item in ("tea", "milk")]

    def node(state: Any) -> Any:
        decided = interrupt({"action_requests": calls, "review_configs": review})
        said = ", ".join(each["type"] for each in decided["decisions"])
        return {"messages": [{"role": "ai", "content": said}]}

    builder: Any = StateGraph(MessagesState)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    client = Client(lambda call, options: "allow" if call.raw_input["item"] == "tea" else "reject")
    async with connected(builder.compile(checkpointer=saver), client) as agent:
        session = await agent.new_session(cwd=str(folder), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=text("Buy"))
    assert client.said() == "approve, reject"
    assert len({call.tool_call_id for call, _ in client.asked}) == 2
