"""Daemons whose wall clocks are years off, or jump: real processes, a clock of its own for each."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .daemons import Daemon, documents, replicator, until

YEAR = 365 * 86_400
SHIFTED = str(Path(__file__).parent / "shifted.py")


def set_clock(data: Path, seconds: int) -> None:
    """Set the clock of a daemon, running or not, so far off the real one."""
    file = data.parent / f"{data.name}.clock"
    file.with_suffix(".new").write_text(str(seconds))
    file.with_suffix(".new").rename(file)


@contextmanager
def serving(data: Path, *peers: str, off: int = 0) -> Iterator[Daemon]:
    set_clock(data, off)
    arguments = ["--listen", "127.0.0.1:0", "--no-multicast", "--name", data.name]
    for peer in peers:
        arguments += ["--peer", peer]
    file = str(data.parent / f"{data.name}.clock")
    daemon = Daemon(data, *arguments, within=[sys.executable, SHIFTED, file])
    try:
        yield daemon
    finally:
        daemon.clean_up()


def versions(data: Path, key: str) -> list[Any]:
    (document,) = documents("versions", "--data", str(data), key)
    found = document["versions"]
    assert isinstance(found, list)
    return found


def status(data: Path) -> Any:
    (found,) = documents("status", "--data", str(data))
    return found


def off_by(data: Path, key: str) -> float:
    """How far in the future the only version of a key is dated, seconds of the real clock."""
    (version,) = versions(data, key)
    return float(version["time_ms"]) / 1000 - time.time()


def put(data: Path, key: str, value: str = "v") -> None:
    assert replicator("put", "--data", str(data), key, value).exit_code == 0


def test_years_ahead_and_behind_in_a_line(tmp_path: Path) -> None:
    """a is years ahead, c behind; b between them is right. All writes are everywhere; nobody
    follows a; c hears of it through b alone, and names a all the same."""
    a, b, c = (tmp_path / name for name in "abc")
    with (
        serving(a, off=10 * YEAR) as ahead,
        serving(b, ahead.address) as middle,
        serving(c, middle.address, off=-10 * YEAR),
    ):
        put(a, "from a")
        for one in (b, c):
            until(lambda one=one: versions(one, "from a") != [])  # type: ignore[misc]
        put(b, "from b")
        put(c, "from c")
        for one in (a, b, c):
            until(lambda one=one: versions(one, "from b") and versions(one, "from c"))  # type: ignore[misc]
        assert abs(off_by(a, "from a") - 10 * YEAR) < 600
        assert abs(off_by(a, "from b")) < 600
        assert abs(off_by(a, "from c") + 10 * YEAR) < 600

        told = status(c)["clock"]["ahead"]
        names = {one["name"]: one for one in told.values()}
        assert set(names) == {"a", "b"}, "b is ten years ahead for c"
        assert abs(names["a"]["seconds"] - 20 * YEAR) < 600
        assert status(c)["counters"]["skewed"] >= 2
        peers = {peer["name"]: peer["clock_ahead_seconds"] for peer in status(b)["peers"]}
        assert abs(peers["a"] - 10 * YEAR) < 600 and abs(peers["c"] + 10 * YEAR) < 600

        text = replicator("status", "--data", str(b)).stdout
        assert "a (" in text and "about 10 years ahead: 1 writes, kept" in text
        assert (
            f"clock of node a, origin {ahead.ready['origin']}: its writes are dated about 10"
            in (middle.log)
        )
        assert "the clock of node 'c' is about 10 years behind this one's" in middle.log
        digests = {replicator("digest", "--data", str(one)).stdout for one in (a, b, c)}
        assert len(digests) == 1


def test_a_clock_that_jumps_forward_and_back(tmp_path: Path) -> None:
    """For as long as it is wrong, so are the dates; set right, they are right at once, also after
    a restart in between."""
    a, b = tmp_path / "a", tmp_path / "b"
    with serving(b) as right:
        with serving(a, right.address):
            put(a, "before")
            set_clock(a, 70 * YEAR)
            put(a, "wrong")
            set_clock(a, 0)
            put(a, "after")
            assert abs(off_by(a, "wrong") - 70 * YEAR) < 600
            assert abs(off_by(a, "after")) < 600
            until(lambda: status(a)["clock"]["set_backs"] == 1)
            set_clock(a, 70 * YEAR)
            put(a, "wrong again")
        with serving(a, right.address) as again:
            put(a, "restarted")
            assert abs(off_by(a, "restarted")) < 600
            until(lambda: "clock of this node: it was set back by about 70 years" in again.log)
            keys = ["before", "wrong", "after", "wrong again", "restarted"]
            until(lambda: all(versions(b, key) for key in keys))
            put(b, "wrong", "superseded")
            until(lambda: replicator("get", "--data", str(a), "wrong").stdout == "superseded\n")
