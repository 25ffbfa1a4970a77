"""BatchEnds: the calls of a large batch end in groups, and one that is cancelled takes no other along."""

import asyncio

import pytest

from langgraph_rlm.runtime.batch_ends import FEW, BatchEnds


def test_calls_of_a_large_batch_end_together() -> None:
    async def go() -> list[set[int]]:
        batch_ends, ended, groups = BatchEnds(), set[int](), list[set[int]]()

        async def call(number: int) -> None:
            await asyncio.sleep(number / 10_000)
            await batch_ends.join(1000)
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
        joined = asyncio.create_task(BatchEnds().join(FEW))
        await asyncio.sleep(0)
        assert joined.done()

    asyncio.run(go())


def test_a_cancelled_call_leaves_the_others_to_end() -> None:
    async def go() -> None:
        batch_ends = BatchEnds()
        first, second = (asyncio.create_task(batch_ends.join(1000)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        await batch_ends.join(1000)

    asyncio.run(go())
