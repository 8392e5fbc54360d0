"""The write gate by itself; with writers in the tests of local writes (R13)."""

import threading

from replicator.store.gate import Gate


def test_without_a_node_it_is_open() -> None:
    gate = Gate(60.0)
    gate.wait()
    assert gate.outcome == "nobody there"


def test_the_first_outcome_counts() -> None:
    gate = Gate(60.0)
    gate.guard()
    assert gate.outcome == "waiting"
    gate.open("caught up")
    gate.open("timed out")
    gate.wait()
    assert gate.outcome == "caught up"


def test_it_gives_up() -> None:
    gate = Gate(0.0)
    gate.guard()
    gate.wait()
    assert gate.outcome == "timed out"
    gate.open("caught up")
    assert gate.outcome == "timed out"


def test_shutting_lets_everybody_go_without_an_outcome() -> None:
    gate = Gate(60.0)
    gate.guard()
    threads = [threading.Thread(target=gate.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    gate.shut()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert gate.outcome == "waiting"
