"""The live view, drawn into terminals of any size."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from replicator.faces.cli.dashboard import BARS, Dashboard, amount, shares, sparkline
from replicator.faces.cli.watching import History, Look
from tests.cli.test_watching import MEMBER, PEER, look


def drawn(history: History, width: int = 100, height: int = 40, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    console = Console(
        file=io.TextIOWrapper(raw, encoding=encoding, write_through=True),
        width=width,
        height=height,
        force_terminal=True,
        color_system=None,
        legacy_windows=False,
    )
    console.print(Dashboard(history, "./a", 1.0), height=height)
    return raw.getvalue().decode(encoding)


def seen(*looks: Look) -> History:
    history = History()
    for one in looks:
        history.add(one, 0.0)
    return history


def test_what_is_there() -> None:
    text = drawn(
        seen(
            look(1.0),
            look(2.0, counters__writes=1500, peers__0__lag_entries=7, peers__0__lag_seconds=2.5),
        )
    )
    assert "aaaaaaaaaaaaaaaa  cluster default" in text
    assert "9 of 10 writes are on the disk of all 2 members" in text
    assert re.search(r"writes +1\.5k/s .*max 1\.5k", text)
    assert re.search(r"b +dialled, open, idle, idle +7 +2\.5 s", text)
    assert re.search(r"b +alive +0 +1 s ago +0\.2\.0", text)
    assert "q or Ctrl-C ends" in text


@pytest.mark.parametrize("width", [20, 45, 80, 200])
@pytest.mark.parametrize("height", [8, 24, 60])
def test_it_fits_any_terminal(width: int, height: int) -> None:
    peers = [
        {**PEER, "address": f"10.0.0.{place}:9000", "name": f"b{place}"} for place in range(40)
    ]
    members = tuple(
        {**MEMBER, "name": f"b{place}", "origin": f"{place:016x}"} for place in range(40)
    )
    looks = [look(0.0, members, peers=peers)]
    looks += [look(1.0, members, peers=peers, counters__forks=place) for place in range(30)]
    lines = drawn(seen(*looks), width, height).splitlines()
    assert max(map(len, lines)) <= width
    if height >= 24:
        assert len(lines) <= height
        assert sum("more" in line for line in lines) == 2
        assert "ends" in lines[-1] or width < 30


def test_those_that_need_a_look_come_first() -> None:
    peers: list[dict[str, Any]] = [
        {**PEER, "address": f"10.0.0.{place}:9000", "name": f"b{place}"} for place in range(30)
    ]
    peers[29] |= {"connected": False, "last_error": "no route"}
    text = drawn(seen(look(0.0, peers=peers)), 100, 24)
    assert "b29" in text
    assert "not connected: no route" in text


def test_a_daemon_that_is_away() -> None:
    text = drawn(seen(look(0.0), Look(1.0, problem="the daemon on ./a: it went away")))
    assert "./a: the daemon on ./a: it went away" in text
    assert "looking again" in text


def test_names_of_strangers_neither_act_nor_are_markup() -> None:
    evil = "[bold red]\x1b[2J\n\x9b31m"
    peers = [{**PEER, "name": evil, "last_error": evil, "connected": False}]
    members = ({**MEMBER, "name": evil, "version": evil},)
    text = drawn(
        seen(look(0.0, (), peers=[]), look(1.0, members, peers=peers, name=evil, cluster=evil)), 160
    )
    assert "\x1b[2J" not in text
    assert "\x9b" not in text
    assert text.count(r"[bold red]\x1b[2J\n\xc2\x9b31m") >= 4


def test_a_terminal_without_utf8_gets_plain_bars() -> None:
    text = drawn(seen(look(0.0), look(1.0, counters__writes=5)), encoding="ascii")
    assert "#" in text


def test_sparklines() -> None:
    assert sparkline([], 5, BARS) == ""
    assert sparkline([0, 0], 5, BARS) == "▁▁"
    assert sparkline([0, 1, 50, 100], 10, BARS) == "▁▂▅█"
    assert sparkline(list(range(100)), 3, BARS) == "███"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (99_950, "100k"), (2.5e6, "2.5M"), (7e12, "7.0T")],
)
def test_amounts(number: float, text: str) -> None:
    assert amount(number) == text


@pytest.mark.parametrize(
    ("room", "first", "second", "both"),
    [(20, 3, 3, (3, 3)), (10, 20, 3, (7, 3)), (10, 3, 20, (3, 7)), (10, 20, 20, (5, 5))],
)
def test_two_lists_share_the_room(
    room: int, first: int, second: int, both: tuple[int, int]
) -> None:
    assert shares(room, first, second) == both
