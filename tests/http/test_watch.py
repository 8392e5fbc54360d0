"""Looking at a node: once, however many ask."""

from pathlib import Path

import pytest
import trio

from replicator.errors import UsageError
from replicator.faces.http import pulse
from replicator.faces.http.limits import ASKED_SECONDS

from .serving import Events, alone, until


async def test_scrapes_and_pages_share_one_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with alone(tmp_path) as served:
        looks = {"status": 0, "members": 0}

        for name in looks:
            real = getattr(type(served.replica), name)

            def counted(self: object, name: str = name, real: object = real) -> object:
                looks[name] += 1
                return real(self)  # type: ignore[operator]

            monkeypatch.setattr(type(served.replica), name, counted)
        began = trio.current_time()
        pages = [await Events.open(served) for _ in range(5)]
        for page in pages:
            assert await page.next("state") is not None
        for path in ("/metrics", "/status", "/readyz", "/metrics", "/conflicts") * 4:
            await served.ask(path)
        seconds = trio.current_time() - began
        # One more for the beat, which began before the wrapping.
        assert looks["status"] == looks["members"] <= 2 + seconds / pulse.SAMPLE_SECONDS


async def test_faults_are_all_named(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        watch, store = served.server._watch, served.replica._engine.store
        assert (await watch.look()).faults == []
        store.level.fail("a test failed it")
        store.gate.guard()
        watch.close()
        faults = (await watch.look()).faults
        assert faults[0] == "the daemon is closing"
        assert faults[1].startswith("the write gate is shut")
        assert "refuses writes since a test failed it" in faults[2]
        assert len(faults) == 3
        store.level.failed = None
        store.gate.open("caught up")


async def test_whether_somebody_has_asked_lately(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        watch = served.server._watch
        assert not watch.is_asked
        await served.ask("/healthz")
        assert not watch.is_asked
        await served.ask("/metrics")
        assert watch.is_asked
        watch._asked_at -= ASKED_SECONDS
        assert not watch.is_asked
        page = await Events.open(served)
        assert await page.next("tick") is not None
        assert watch.is_asked


async def test_one_look_that_fails_does_not_end_the_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pulse, "SAMPLE_SECONDS", 0.05)
    async with alone(tmp_path) as served:

        def refuse(self: object) -> object:
            raise UsageError("the node does not answer")

        with monkeypatch.context() as patch:
            patch.setattr(type(served.replica), "status", refuse)

            async def is_logged() -> bool:
                return "not up to date: the node does not answer" in caplog.text

            await until(is_logged)
        page = await Events.open(served)
        assert await page.next("tick") is not None
