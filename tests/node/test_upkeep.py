"""Upkeep: commits become durable by themselves, and wake those who would sleep for an hour."""

from pathlib import Path

import pytest

from replicator.errors import StoreFailedError
from replicator.peers.session import Session

from .peers import converged, running, until


async def test_commits_become_durable_by_themselves(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        for number in range(3):
            await a.put(b"%d" % number, b"value")
            await until(lambda: a.store.durable_known() == a.store.known())


async def test_a_disk_that_does_not_sync_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "a") as a:
        attempts = 0

        def fail() -> None:
            nonlocal attempts
            attempts += 1
            raise StoreFailedError("input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(a.store, "sync_point", fail)
            for number in range(3):
                await a.put(b"%d" % number, b"value")
                await until(lambda number=number: attempts > number)
        assert a.errors() == ["input/output error"]
        await a.put(b"last", b"value")
        await until(lambda: a.store.durable_known() == a.store.known())


async def test_a_write_makes_a_node_dial_that_would_have_slept(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a", linger=0.01) as a,
        running(tmp_path / "b", a.address, interval_max=3600.0, linger=0.01) as b,
    ):
        await until(lambda: "connect" in b.names_told())
        await until(lambda: not b.node.status().peers[0].connected)
        for number in range(10):
            await b.put(b"%d" % number, b"value")
        await converged(a, b)


async def test_many_changes_are_announced_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = 0
    known_changed = Session.known_changed

    def counted(session: Session) -> None:
        nonlocal announced
        announced += 1
        known_changed(session)

    async with (
        running(tmp_path / "a", linger=30.0) as a,
        running(tmp_path / "b", a.address, linger=30.0) as b,
    ):
        await until(lambda: b.store.gate.outcome == "caught up")
        monkeypatch.setattr(Session, "known_changed", counted)
        for number in range(1000):
            b.store.put(b"%d" % number, b"value")
        assert announced == 0, "the loop had no turn yet"
        await converged(a, b)
        assert announced < 500


async def test_a_bug_in_the_upkeep_is_logged_and_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("replicator.node.RESTART_SECONDS", 0.01)
    async with (
        running(tmp_path / "a", linger=30.0) as a,
        running(tmp_path / "b", a.address, linger=30.0) as b,
    ):
        await until(lambda: "connect" in b.names_told())

        def bug(session: Session) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(Session, "known_changed", bug)
            await b.put(b"key", b"value")
            await until(lambda: "ZeroDivisionError" in caplog.text)
        await converged(a, b)
