"""Threads of tests: what goes wrong in one fails the test."""

import threading
from collections.abc import Callable


def in_threads(target: Callable[[int], object], count: int) -> None:
    """Call `target` with 0 … `count` - 1, each in a thread of its own, and wait for all."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            target(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors, errors
