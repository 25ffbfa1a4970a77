"""Hosting: runs of a process that works for others, how a thread stands, and the folders whose files may be read."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langgraph_rlm import ContextError, aanswer
from langgraph_rlm.errors import ThreadBusyError
from langgraph_rlm.hosting.runs import Runs
from langgraph_rlm.hosting.sources import OneGraph
from langgraph_rlm.hosting.status import status_of
from langgraph_rlm.storage.allowed import Allowed

from .models import rlm, root

CODE = "FINAL(buy('tea'))"


@pytest.fixture
async def saver(tmp_path: Path) -> AsyncIterator[AsyncSqliteSaver]:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as opened:
        yield opened


def shop(saver: Any, **options: Any) -> OneGraph:
    def buy(item: str) -> str:
        """Buy something."""
        return f"bought {item}"

    return OneGraph(rlm(root(CODE), tools=[buy], checkpointer=saver, **options))


async def test_a_run_tells_its_progress_and_its_thread_how_it_ended(saver: Any) -> None:
    source, runs, seen = shop(saver), Runs(saver), []
    assert (await status_of(source.opened(None).graph, "t")).state == "none"
    given = {"query": "Buy tea", "context": "a text"}
    await runs.start("t", source.opened(None), given, on_event=seen.append)
    assert await runs.ended("t")
    status = await status_of(source.opened(None).graph, "t")
    assert (status.state, status.answer, status.stop_reason) == ("done", "bought tea", "answered")
    assert status.usage["turns"] == 1
    assert [event["type"] for event in seen][:2] == ["turn", "code"]
    assert seen[-1]["type"] == "answer"


async def test_a_run_that_waits_is_told_with_its_pauses_and_taken_up_when_answered(
    saver: Any,
) -> None:
    source, runs = shop(saver, interrupt_on={"buy": True}), Runs(saver)
    graph = source.opened(None).graph
    await runs.start("t", source.opened(None), {"query": "Buy tea", "context": "a text"})
    assert await runs.ended("t")
    status = await status_of(graph, "t")
    assert status.state == "waiting"
    assert [pause.actions[0].tool for pause in status.pauses] == ["buy"]
    config: Any = {"configurable": {"thread_id": "t"}}
    await aanswer(graph, config, {status.pauses[0].id: {"type": "approve"}})
    await runs.take_up("t", source.opened(None))
    assert await runs.ended("t")
    assert (await status_of(graph, "t")).answer == "bought tea"


async def test_a_thread_has_one_run_and_a_stopped_one_is_open(saver: Any) -> None:
    import asyncio

    began = asyncio.Event()

    async def wait(item: str) -> str:
        """Wait for ever."""
        began.set()
        await asyncio.Event().wait()
        return item

    source = OneGraph(rlm(root("FINAL(wait('x'))"), tools=[wait], checkpointer=saver))
    runs = Runs(saver)
    await runs.start("t", source.opened(None), {"query": "Wait", "context": "a text"})
    await began.wait()
    assert not await runs.ended("t", seconds=0.01)
    with pytest.raises(ThreadBusyError):
        await runs.start("t", source.opened(None), {"query": "Wait", "context": "a text"})
    assert await runs.stop("t")
    assert not await runs.stop("t")
    assert (await status_of(source.opened(None).graph, "t")).state == "open"


class TestAllowed:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        inside = tmp_path / "inside"
        (inside / "sub").mkdir(parents=True)
        (inside / "a.txt").write_text("a")
        (inside / "sub" / "b.txt").write_text("b")
        (tmp_path / "secret.txt").write_text("secret")
        (tmp_path / "inside-not").mkdir()
        (tmp_path / "inside-not" / "c.txt").write_text("c")
        os.symlink(tmp_path / "secret.txt", inside / "link")
        os.symlink(tmp_path, inside / "up")
        return inside

    def test_what_is_inside_is_given_by_its_real_path(self, folder: Path) -> None:
        allowed = Allowed([folder])
        assert allowed.path("a.txt") == folder / "a.txt"
        assert allowed.path("sub/../a.txt") == folder / "a.txt"
        assert allowed.path(str(folder / "sub")) == folder / "sub"
        assert allowed.path(".") == folder

    @pytest.mark.parametrize(
        "given",
        [
            "../secret.txt",
            "link",
            "up/secret.txt",
            "../inside-not/c.txt",
            "/etc/passwd",
            "~/.ssh/id_rsa",
            "missing",
            "a.txt\0",
            "a.txt/../../secret.txt",
        ],
    )
    def test_what_is_outside_or_missing_is_refused_in_the_same_words(
        self, folder: Path, given: str
    ) -> None:
        with pytest.raises(ContextError, match=r"There is no file .* in the folders that may be"):
            Allowed([folder]).path(given)

    def test_a_client_can_name_fewer_folders_never_more(self, folder: Path) -> None:
        allowed = Allowed([folder])
        assert allowed.within([folder / "sub"]).folders == [folder / "sub"]
        assert allowed.within([folder.parent, "/"]).folders == [folder]
        assert allowed.within([folder / "up"]).folders == [folder]
        assert allowed.within([folder.parent / "inside-not"]).folders == []
        assert allowed.within([folder.parent / "missing"]).folders == []
        with pytest.raises(ContextError, match="there are none"):
            Allowed([]).path("a.txt")

    def test_a_folder_has_to_be_one(self, folder: Path) -> None:
        with pytest.raises(ContextError, match="is not a folder"):
            Allowed([folder / "a.txt"])
