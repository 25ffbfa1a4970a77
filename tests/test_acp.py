"""The Agent Client Protocol: sessions, prompts, updates, permissions, cancelling and loading, with the official SDK's client."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import acp
import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

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
