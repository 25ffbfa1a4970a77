"""Convoy: the calls of a large batch end in groups, and one that is cancelled takes no other along."""

import asyncio

import pytest

from langgraph_rlm.convoy import FEW, Convoy


def test_calls_of_a_large_batch_end_together() -> None:
    async def go() -> list[set[int]]:
        convoy, ended, groups = Convoy(), set[int](), list[set[int]]()

        async def call(number: int) -> None:
            await asyncio.sleep(number / 10_000)
            await convoy.join(1000)
            ended.add(number)

        calls = [asyncio.create_task(call(number)) for number in range(40)]
        while len(ended) < 40:
            before = len(ended)
            await asyncio.sleep(0)
            if len(ended) > before:
                groups.append(set(ended))
        await asyncio.gather(*calls)
        return groups

    assert len(asyncio.run(go())) < 10


def test_the_last_calls_and_small_batches_wait_for_nobody() -> None:
    async def go() -> None:
        joined = asyncio.create_task(Convoy().join(FEW))
        await asyncio.sleep(0)
        assert joined.done()

    asyncio.run(go())


def test_a_cancelled_call_leaves_the_others_to_end() -> None:
    async def go() -> None:
        convoy = Convoy()
        first, second = (asyncio.create_task(convoy.join(1000)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        await convoy.join(1000)

    asyncio.run(go())
