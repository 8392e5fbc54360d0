"""Calls from any thread into the trio loop of a node.

Unlike `trio.from_thread` this works from whatever thread: a program's main thread, a worker of
this loop or of another one, the thread of a different trio loop.
"""

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

import trio

from replicator.errors import UsageError

ANSWER_SECONDS = 10.0
"""How long a question to the loop may take; longer means that the loop waits for the asker."""

T = TypeVar("T")


class LoopCalls:
    """The way into one nursery of one loop, for as long as that runs.

    Made in the loop's thread. Its methods may be called from any thread.

    Args:
        nursery: where tasks are started.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()

    @property
    def is_inside(self) -> bool:
        """Whether the calling thread is the loop's own."""
        return threading.get_ident() == self._thread

    def soon(self, call: Callable[[], object]) -> bool:
        """Have `call` called in the loop soon; it must not raise.

        Returns:
            False where the loop has ended: it will not be called.
        """
        try:
            self._token.run_sync_soon(call)
        except trio.RunFinishedError:
            return False
        return True

    def ask(self, question: Callable[[], T]) -> T:
        """What `question` returns or raises in the loop; where that has ended, here.

        Raises:
            UsageError: the loop does not get round to it, because it waits for this very thread.
        """
        if self.is_inside:
            return question()
        answer: Future[T] = Future()
        if not self.soon(lambda: _answer(answer, question)):
            return question()
        try:
            return answer.result(ANSWER_SECONDS)
        except TimeoutError:
            raise UsageError(
                "the node does not answer: it waits for a lock that this thread holds; ask it "
                "outside of update() and of resolvers"
            ) from None

    def run(self, task: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """Run a task in the loop and wait for what it returns or raises.

        Args:
            otherwise: what to return where the loop has ended, or ends meanwhile.

        Raises:
            UsageError: called in the loop's own thread, which would wait for itself.
        """
        if self.is_inside:
            raise UsageError("this call blocks: await its asynchronous twin in the trio thread")
        answer: Future[T] = Future()

        async def run() -> None:
            try:
                answer.set_result(await task())
            except Exception as error:
                answer.set_exception(error)
            finally:
                if not answer.done():
                    answer.set_result(otherwise)

        def start() -> None:
            try:
                self._nursery.start_soon(run)
            except RuntimeError:  # the nursery is closed
                answer.set_result(otherwise)

        return answer.result() if self.soon(start) else otherwise


def _answer(answer: "Future[T]", question: Callable[[], T]) -> None:
    try:
        answer.set_result(question())
    except BaseException as error:
        answer.set_exception(error)
