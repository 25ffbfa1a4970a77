"""Two workers of Aegra over one PostgreSQL and one Redis: what holds when one of them, or both, go away."""

import asyncio
import threading
import time
import urllib.request
from typing import Any

import openai
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import AuthenticationError, NotFoundError

from .cluster import KEY, OTHER_KEY, PROBES, Cluster
from .models import Models
from .runs import Clients, Run, judged
from .work import Work

pytestmark = pytest.mark.timeout(240)


def test_of_a_killed_workers_runs_nothing_that_was_saved_is_asked_again(
    cluster: Cluster, models: Models
) -> None:
    """The other worker ends them, with the right answers and within their limits; the killed one comes back."""
    runs = [Run(Work(f"kill{number}")) for number in range(4)]
    runs += [Run(Work(f"few{number}"), {"max_sub_calls": 10}) for number in range(2)]
    runs += [Run(Work(f"cheap{number}"), {"max_cost": 0.12}) for number in range(2)]
    victim, moments = cluster.workers[1], list[float]()

    def hit() -> None:
        for run in runs[:4]:
            assert models.wait_for(run.work.name, 8)
        moments.append(time.monotonic())
        victim.kill()
        victim.start()

    killing = threading.Thread(target=hit)
    killing.start()
    asyncio.run(Clients(cluster).all(runs))
    killing.join()
    victim.wait()
    assert judged(runs, models, moments) == []
    assert any(models.tally(run.work.name).again for run in runs), "nothing was in flight"


def test_an_error_says_what_is_wrong_and_what_to_do(cluster: Cluster) -> None:
    run = Run(Work("refused"), {"max_iterations": 31})

    asyncio.run(Clients(cluster).all([run]))
    assert run.status == "error"
    assert "limits={'max_iterations': 31} is refused" in run.error


@pytest.mark.parametrize("path", PROBES)
def test_probes_need_no_key(cluster: Cluster, path: str) -> None:
    with urllib.request.urlopen(f"{cluster.workers[0].url}{path}") as answer:
        assert answer.status == 200


def test_each_key_has_threads_of_its_own(cluster: Cluster) -> None:
    async def asked() -> None:
        url, thread = cluster.workers[0].url, "of-a-key"
        async with get_client(url=url, api_key=KEY) as client:
            await client.threads.create(thread_id=thread)
        async with get_client(url=url, api_key=OTHER_KEY) as other:
            assert await other.threads.search() == []
            with pytest.raises(NotFoundError):
                await other.threads.get_state(thread)
            with pytest.raises(NotFoundError):
                await other.runs.create(thread, "rlm", input={"query": "whose is it?"})
        async with get_client(url=url, api_key="guessed") as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.threads.search()

    asyncio.run(asked())


def test_the_mounted_server_answers_who_has_its_key(cluster: Cluster) -> None:
    """At any worker: a FastAPI application around ours, whose lifespan has opened the database."""
    for number, worker in enumerate(cluster.workers):
        with openai.OpenAI(base_url=f"{worker.url}/openai/v1", api_key=KEY) as client:
            work = Work(f"mounted{number}", rounds=1)
            text = f"{work.question}\n{'some of a long text. ' * 20_000}"
            said: Any = [{"role": "user", "content": text}]
            reply = client.chat.completions.create(model="rlm", messages=said)
            assert reply.choices[0].message.content == work.answer
        stranger = openai.OpenAI(base_url=f"{worker.url}/openai/v1", api_key="none")
        with stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()


def test_an_approval_is_answered_after_both_workers_were_started_again(
    cluster: Cluster, models: Models
) -> None:
    said = {"messages": [{"role": "user", "content": "MAIL ada@example.org"}]}
    ran: dict[str, Any] = {"if_not_exists": "create"}

    async def asked(url: str, **given: Any) -> tuple[Any, Any]:
        async with get_client(url=url, api_key=KEY) as client:
            out = await client.runs.wait("approval", "approval", **ran, **given)
            return out, await client.threads.get_state("approval")

    _, state = asyncio.run(asked(cluster.workers[0].url, input=said))
    (pause,) = state["interrupts"]
    assert pause["value"]["action_requests"][0]["args"]["to"] == "ada@example.org"
    paid = len(models.tally("mail").asks)
    for worker in cluster.workers:
        worker.kill()
    for worker in cluster.workers:
        worker.start()
    for worker in cluster.workers:
        worker.wait()
    decision = {"resume": {"decisions": [{"type": "approve"}]}}
    out, _ = asyncio.run(asked(cluster.workers[1].url, command=decision))
    assert "sent to ada@example.org" in out["messages"][-1]["content"]
    assert len(models.tally("mail").asks) == paid


@pytest.mark.slow
def test_a_redis_that_is_lost_takes_no_run_with_it(cluster: Cluster, models: Models) -> None:
    """Neither those under way nor those that wait in its queue."""
    runs = [Run(Work(f"queued{number}")) for number in range(40)]

    def hit() -> None:
        assert models.wait_for("queued0", 6)
        cluster.redis.end()
        cluster.start_redis()

    hitting = threading.Thread(target=hit)
    hitting.start()
    asyncio.run(Clients(cluster).all(runs, seconds=180))
    hitting.join()
    assert judged(runs, models) == []
