"""Versions of the state, and requests that wait for the next one."""

import asyncio

from catalog.serve.watcher import LiveState


def test_equal_content_keeps_the_version_and_its_estimates() -> None:
    async def check() -> None:
        state = LiveState()
        assert await state.put("runs", [{"n_done": 1}], estimates={"run": 60.0})
        version = state.version
        assert not await state.put("runs", [{"n_done": 1}], estimates={"run": 59.0})
        assert state.version == version
        assert state.content == {"runs": [{"n_done": 1}], "estimates": {"runs": {"run": 60.0}}}
        assert await state.put("runs", [{"n_done": 2}])
        assert state.version != version
        assert state.content == {"runs": [{"n_done": 2}], "estimates": {}}

    asyncio.run(check())


def test_a_request_waits_for_a_change_and_no_longer() -> None:
    async def check() -> None:
        state = LiveState()
        await state.put("runs", 1)
        version = state.version
        waiting = asyncio.create_task(state.wait_for_change(version, seconds=30))
        await asyncio.sleep(0)
        await state.put("runs", 1)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await state.put("best", 2)
        assert await asyncio.wait_for(waiting, 1)
        assert not await state.wait_for_change(state.version, seconds=0.01)

    asyncio.run(check())


def test_closing_ends_every_wait() -> None:
    async def check() -> None:
        state = LiveState()
        await state.put("runs", 1)
        waits = [asyncio.create_task(state.wait_for_change(state.version, seconds=30)) for _ in range(3)]
        await asyncio.sleep(0.01)
        await state.close()
        assert await asyncio.wait_for(asyncio.gather(*waits), 1) == [False] * 3

    asyncio.run(check())
