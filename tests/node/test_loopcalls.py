"""Calls into a loop from other threads: they come back, whatever the loop does."""

import threading

import pytest
import trio

from replicator.errors import UsageError
from replicator.peers.loopcalls import LoopCalls


async def in_thread(call):  # type: ignore[no-untyped-def]
    return await trio.to_thread.run_sync(call)


async def test_questions_are_answered_in_the_loop() -> None:
    async with trio.open_nursery() as nursery:
        calls = LoopCalls(nursery)
        here = threading.get_ident()
        assert await in_thread(lambda: calls.ask(threading.get_ident)) == here
        assert calls.ask(threading.get_ident) == here
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: calls.ask(lambda: 1 // 0))


async def test_tasks_are_run_in_the_loop() -> None:
    async def task() -> str:
        await trio.sleep(0)
        return threading.current_thread().name

    async def failing() -> str:
        raise ValueError("as it comes")

    async with trio.open_nursery() as nursery:
        calls = LoopCalls(nursery)
        name = threading.current_thread().name
        assert await in_thread(lambda: calls.run(task, "otherwise")) == name
        with pytest.raises(ValueError, match="as it comes"):
            await in_thread(lambda: calls.run(failing, "otherwise"))
        with pytest.raises(UsageError, match="blocks"):
            calls.run(task, "otherwise")


async def test_a_task_that_is_cancelled_gives_the_other_answer() -> None:
    async with trio.open_nursery() as waiters:
        answers: list[str] = []
        started = trio.Event()

        async def forever() -> str:
            started.set()
            await trio.sleep_forever()
            raise AssertionError

        async def ask(calls: LoopCalls) -> None:
            answers.append(await in_thread(lambda: calls.run(forever, "ended")))

        async with trio.open_nursery() as nursery:
            calls = LoopCalls(nursery)
            waiters.start_soon(ask, calls)
            await started.wait()
            nursery.cancel_scope.cancel()
    assert answers == ["ended"]
    assert await in_thread(lambda: calls.run(forever, "closed")) == "closed"


def test_after_the_loop_questions_are_answered_where_they_are_asked() -> None:
    async def main() -> LoopCalls:
        async with trio.open_nursery() as nursery:
            return LoopCalls(nursery)

    calls: list[LoopCalls] = []
    other = threading.Thread(target=lambda: calls.append(trio.run(main)))
    other.start()
    other.join()
    assert calls[0].ask(threading.get_ident) == threading.get_ident()
    assert not calls[0].soon(print)

    async def task() -> str:
        raise AssertionError

    assert calls[0].run(task, "gone") == "gone"
