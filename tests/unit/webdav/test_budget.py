"""The budget of the gateways: in order of arrival, never above its size, and without deadlock."""

from __future__ import annotations

import asyncio

import pytest

from efss_transfer.webdav.budget import NARROW, WIDE, Budget, size_for

MIB = 1 << 20


@pytest.mark.parametrize(
    ("memory", "size"),
    [(64 * MIB, 8 * MIB), (512 * MIB, 64 * MIB), (4096 * MIB, 64 * MIB)],
)
def test_size_is_an_eighth_of_the_memory_and_at_most_64_mib(memory: int, size: int) -> None:
    assert size_for(memory) == size


def test_caches_bodies_streams_and_pipes_together_are_the_budget() -> None:
    budget = Budget(64 * MIB)
    assert budget.caches + budget.pieces == 32 * MIB
    assert asyncio.run(most_held(budget, [16 * MIB] * 3)) == 16 * MIB
    with budget.lending(None, is_plain=True), budget.lending(None, is_plain=True):
        assert budget.lent == 2 * WIDE


async def most_held(budget: Budget, sizes: list[int]) -> int:
    async def use(size: int) -> None:
        async with budget.holding(size):
            await asyncio.sleep(0)

    await asyncio.gather(*map(use, sizes))
    assert budget.held == 0
    return budget.most_held


def test_what_is_larger_than_the_budget_waits_until_it_is_alone() -> None:
    assert asyncio.run(most_held(Budget(4 * MIB), [MIB // 2, 9 * MIB, MIB // 2])) == MIB


def test_use_that_waits_is_not_overtaken_by_a_smaller_one() -> None:
    order: list[str] = []

    async def run() -> None:
        budget = Budget(4 * MIB)

        async def use(name: str, size: int) -> None:
            async with budget.holding(size):
                order.append(name)
                await asyncio.sleep(0.01)

        await asyncio.gather(use("a", MIB), use("large", MIB), use("small", 1))

    asyncio.run(run())
    assert order == ["a", "large", "small"]


@pytest.mark.parametrize("is_its_turn", [False, True])
def test_use_that_is_cancelled_while_it_waits_takes_nothing(is_its_turn: bool) -> None:
    async def run() -> None:
        budget = Budget(4 * MIB)

        async def use() -> None:
            async with budget.holding(MIB):
                pytest.fail("it was cancelled before")

        async with budget.holding(MIB):
            waiting = asyncio.create_task(use())
            await asyncio.sleep(0)
            if not is_its_turn:
                waiting.cancel()
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
        assert budget.held == 0
        async with budget.holding(MIB):
            assert budget.held == MIB

    asyncio.run(run())


@pytest.mark.parametrize("is_plain", [True, False])
def test_streams_never_wait_and_their_buffers_shrink(is_plain: bool) -> None:
    budget = Budget(64 * MIB)
    lent = [budget.lending(None, is_plain=is_plain) for _ in range(128)]
    sizes = [one.__enter__().size for one in lent]
    assert sizes[0] == WIDE
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] >= NARROW
    # A part of an eighth, and what each gets in any case.
    least = NARROW * (1 if is_plain else 4)
    assert budget.lent <= 8 * MIB + 128 * least
    for one in lent:
        one.__exit__(None, None, None)
    assert budget.lent == 0


def test_small_files_get_buffers_of_their_size() -> None:
    budget = Budget()
    with budget.lending(NARROW + 1, is_plain=True) as buffer:
        assert buffer.size == NARROW + 1


def test_pipes_are_as_many_as_the_budget_has_room_for() -> None:
    budget = Budget(16 * MIB)
    lent = [budget.lending(None, is_plain=True) for _ in range(3)]
    assert [one.__enter__().pipe for one in lent] == [True, True, False]
    lent[0].__exit__(None, None, None)
    with budget.lending(None, is_plain=False) as encrypted:
        assert not encrypted.pipe
    with budget.lending(None, is_plain=True) as plain:
        assert plain.pipe


def test_what_is_kept_gives_way_and_is_at_most_half() -> None:
    budget = Budget(4 * MIB)
    assert budget.left_to_keep == MIB // 2
    budget.keep(MIB // 2)
    assert budget.left_to_keep == 0

    def drop() -> bool:
        has_kept = budget.kept > 0
        budget.release(min(budget.kept, MIB // 4))
        return has_kept

    async def run() -> None:
        async with budget.holding(MIB // 2):
            assert budget.kept == MIB // 2
        budget.add_dropper(drop)
        async with budget.holding(MIB * 3 // 4):
            assert budget.kept == MIB // 4
        async with budget.holding(MIB):
            assert (budget.kept, budget.held) == (0, MIB)
            assert budget.left_to_keep == 0

    asyncio.run(run())


def test_use_that_waits_goes_on_when_kept_bytes_are_released() -> None:
    budget = Budget(4 * MIB)

    async def run() -> None:
        budget.keep(MIB // 2)
        waiting = asyncio.create_task(most_held(budget, [MIB]))
        await asyncio.sleep(0.01)
        assert budget.is_short
        assert budget.left_to_keep == 0
        budget.release(MIB // 2)
        assert await waiting == MIB
        assert not budget.is_short

    asyncio.run(run())
