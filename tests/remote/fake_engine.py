"""Fake engine: runs of a graph in this process, over the graph's own checkpointer. It has the few calls of `langgraph_sdk` that parents of children elsewhere make, so that a tree of several threads is in one database without a server."""

import asyncio
import itertools
from typing import Any

import httpx
import pytest
from langgraph.types import Command
from langgraph_sdk.errors import NotFoundError

from langgraph_rlm import RemoteChildren
from tests.remote.server import KEY


class FakeEngine:
    """An engine with one graph."""

    def __init__(self, graph: Any = None) -> None:
        """Take the graph, which may be set later."""
        self.graph = graph
        self.metadata: dict[str, dict[str, Any]] = {}
        self.made: list[dict[str, Any]] = []
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.is_closed = False
        """Whether it begins nothing: what is made waits for ever."""
        self._count = itertools.count()
        self.threads = _Threads(self)
        self.runs = _Runs(self)


class _Threads:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    async def create(self, *, thread_id: str, metadata: Any, if_exists: str) -> Any:
        assert if_exists == "do_nothing"
        return {"metadata": self._engine.metadata.setdefault(thread_id, metadata)}

    async def get(self, thread_id: str) -> Any:
        if thread_id not in self._engine.metadata:
            response = httpx.Response(404, request=httpx.Request("GET", "http://engine"))
            raise NotFoundError("no thread", response=response, body=None)
        return {"metadata": self._engine.metadata[thread_id]}

    async def get_state(self, thread_id: str) -> Any:
        state = await self._engine.graph.aget_state({"configurable": {"thread_id": thread_id}})
        pauses = [
            {"id": each.id, "value": each.value, "response_schema": each.response_schema}
            for each in state.interrupts
        ]
        return {"values": state.values, "next": state.next, "interrupts": pauses, "tasks": []}


class _Runs:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    async def create(self, thread_id: str, assistant: str, **payload: Any) -> None:
        number = next(self._engine._count)
        run = {
            "run_id": f"run-{number}",
            "thread_id": thread_id,
            "created_at": f"{number:06}",
            "status": "running",
        }
        self._engine.made.append(run)
        if not self._engine.is_closed:
            self._engine.tasks[run["run_id"]] = asyncio.create_task(self._work(run, payload))

    async def _work(self, run: dict[str, Any], payload: Any) -> None:
        given = payload.get("input")
        if "command" in payload:
            given = Command(resume=payload["command"]["resume"])
        config = {"configurable": {"thread_id": run["thread_id"]}}
        options = {"durability": payload["durability"]} if "durability" in payload else {}
        try:
            await self._engine.graph.ainvoke(given, config, **options)
            run["status"] = "success"
        except asyncio.CancelledError:
            run["status"] = "interrupted"
        except Exception as error:  # noqa: BLE001 - an engine tells any
            run |= {"status": "error", "error_message": repr(error)}

    async def list(self, thread_id: str, limit: int) -> Any:
        return [run for run in self._engine.made if run["thread_id"] == thread_id][-limit:]

    async def get(self, thread_id: str, run_id: str) -> Any:
        return next(run for run in self._engine.made if run["run_id"] == run_id)

    async def cancel(self, thread_id: str, run_id: str) -> None:
        if task := self._engine.tasks.get(run_id):
            task.cancel()


def fake_engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Have `langgraph_sdk` ask a new fake engine."""
    engine = FakeEngine()
    monkeypatch.setattr("langgraph_sdk.get_client", lambda url, headers: engine)
    return engine


ELSEWHERE = RemoteChildren(url="http://engine", key=KEY)
"""Children on it."""
