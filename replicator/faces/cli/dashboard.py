"""The live view of a node as something that rich draws: pure, given what was seen and the room.

Every text of strangers has been through `escaped` and is drawn as text, never as markup.
"""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from replicator.faces.cli.output import escaped
from replicator.faces.cli.watching import Event, History, called

BARS = "▁▂▃▄▅▆▇█"
BARS_ASCII = "_.-=+*%#"

FIXED_LINES = 13
"""What the view needs beside its lists: three lines on the node, five plots, blank lines, keys."""

NARROW = 90
"""Columns below which a peer's counters are left out."""

DIM, BAD, GOOD, HEAD = "dim", "bold red", "green", "bold"


class Dashboard:
    """Draws a history into whatever room there is.

    Args:
        where: which node is watched, for people.
        interval: seconds between two looks.
    """

    def __init__(self, history: History, where: str, interval: float) -> None:
        self._history = history
        self._where = where
        self._interval = interval

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.height
        bars = BARS_ASCII if options.ascii_only else BARS
        yield Group(*self._parts(width, height, bars))

    def _parts(self, width: int, height: int, bars: str) -> list[RenderableType]:
        history = self._history
        status = history.now.status
        if status is None:
            parts: list[RenderableType] = [
                line(f"{self._where}: {escaped(history.now.problem)}", BAD),
                line("looking again …", DIM),
            ]
        else:
            parts = [*self._node(status), Text(), *self._plots(width, bars)]
        room = max(height - FIXED_LINES, 6)
        events = list(history.events)[-max(room // 3, 2) :]
        if status is not None:
            peers, members = status["peers"], history.now.members
            for_peers, for_members = shares(room - len(events), len(peers) + 1, len(members) + 1)
            parts += [Text(), peers_table(peers, for_peers, width)]
            parts += [Text(), members_table(members, for_members)]
        parts += [Text(), *(event_line(event) for event in events)]
        parts.append(line(f"every {self._interval:g} s; q or Ctrl-C ends", DIM))
        return parts

    def _node(self, status: dict[str, Any]) -> list[Text]:
        gate = status["write_gate"]
        head = line(f"{escaped(status['name'])}  ", HEAD)
        head.append(f"{status['origin']}  cluster {escaped(status['cluster'])}", DIM)
        counters = status["counters"]
        settled = sum(status["conflicts"]["by_reason"].values())
        reasons = ", ".join(
            f"{count:,} by {escaped(why)}"
            for why, count in status["conflicts"]["by_reason"].items()
        )
        facts = line(f"listens on {status['address'] or 'nothing'}; write gate ")
        facts.append(escaped(gate), BAD if gate == "shut" else GOOD)
        facts.append(
            f"; {status['held_by_all']:,} of {status['entries']:,} writes are on the disk of all "
            f"{status['members']} members"
        )
        conflicts = line(f"conflicts {settled:,}" + (f" ({reasons})" if reasons else ""))
        problems = [
            f"{counters[name]:,} {name.replace('_', ' ')}"
            for name in ("resolver_faults", "commit_failures", "skewed", "forks")
            if counters.get(name)
        ]
        differing = status["digests"]["differing"]
        if differing:
            problems.append(f"{differing:,} digests differed")
        conflicts.append("; " + ", ".join(problems) if problems else "", BAD)
        return [head, facts, conflicts]

    def _plots(self, width: int, bars: str) -> list[Text]:
        lines = []
        for name, rates in self._history.rates.items():
            now = self._history.rate(name)
            text = line(f"{name:<12}{amount(now):>9}/s ")
            text.append(sparkline(list(rates), max(width - len(text) - 12, 8), bars), "cyan")
            text.append(f"  max {amount(max(rates, default=0.0))}", DIM)
            lines.append(text)
        return lines


def shares(room: int, first: int, second: int) -> tuple[int, int]:
    """How much of the room two lists get that would like to have so much."""
    of_second = min(second, max(room // 2, room - first))
    return min(first, room - of_second), of_second


def line(text: str, style: str = "") -> Text:
    """One line, cut where there is no room."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def event_line(event: Event) -> Text:
    """An event, with the time of day."""
    result = line("")
    result.append(time.strftime("%H:%M:%S  ", time.localtime(event.clock)), DIM)
    return result.append(str(event), BAD if event.is_bad else "")


def sparkline(values: Sequence[float], width: int, bars: str) -> str:
    """The latest values as bars; what is 0 is the lowest of them."""
    latest = values[-width:]
    most = max(latest, default=0.0)
    if most <= 0:
        return bars[0] * len(latest)
    steps = len(bars) - 1
    return "".join(
        bars[0] if value <= 0 else bars[max(1, round(value / most * steps))] for value in latest
    )


def amount(number: float) -> str:
    """A number in at most six characters."""
    for unit in ("", "k", "M", "G"):
        if number < 999.5:
            return f"{number:.0f}{unit}" if not unit or number >= 99.95 else f"{number:.1f}{unit}"
        number /= 1000
    return f"{number:.1f}T"


def peers_table(peers: Sequence[dict[str, Any]], room: int, width: int) -> Table:
    """The peers in so many lines, the head included; first those that need a look."""
    table = _table()
    names = ("peer", "state", "behind", "for")
    for name in (*names, "rounds", "in", "out") if width >= NARROW else names:
        _add_column(table, name, is_text=name in ("peer", "state"))
    for peer in _chosen(table, peers, room, lambda peer: peer["blocked"] or peer["last_error"]):
        state = line(f"{peer['direction']}, {peer['doing']}" if peer["connected"] else "", GOOD)
        if not peer["connected"]:
            error = peer["last_error"]
            words = "left alone" if peer["blocked"] else "not connected"
            # Idle conversations end: that alone is nothing to worry about.
            state = line(f"{words}: {escaped(error)}", BAD) if error else line(words, DIM)
        behind = "" if peer["lag_entries"] is None else f"{peer['lag_entries']:,}"
        seconds = "" if peer["lag_seconds"] is None else f"{peer['lag_seconds']:.1f} s"
        cells = [line(called(peer)), state, line(behind), line(seconds)]
        if width >= NARROW:
            counts = (peer["rounds"], peer["records_in"], peer["records_out"])
            cells += [line(amount(count)) for count in counts]
        table.add_row(*cells)
    return table


def members_table(members: Sequence[dict[str, Any]], room: int) -> Table:
    """The members in so many lines, the head included; first those that are silent."""
    table = _table()
    for name in ("member", "state", "behind", "heard of", "version"):
        _add_column(table, name, is_text=name not in ("behind", "heard of"))
    for member in _chosen(table, members, room, lambda member: not member["alive"]):
        state = line("alive" if member["alive"] else "silent", GOOD if member["alive"] else BAD)
        if member["is_self"]:
            state = line("this node", DIM)
        heard = "" if member["is_self"] else f"{member['last_seen_seconds']:.0f} s ago"
        texts = (escaped(member["name"]), f"{member['lag_entries']:,}", heard)
        called_so, behind, heard_of = map(line, texts)
        table.add_row(called_so, state, behind, heard_of, line(escaped(member["version"])))
    return table


def _table() -> Table:
    return Table(box=None, expand=True, padding=(0, 2, 0, 0), header_style=HEAD)


def _add_column(table: Table, name: str, *, is_text: bool) -> None:
    """Texts share what numbers leave."""
    if is_text:
        table.add_column(name, no_wrap=True, ratio=2 if name == "state" else 1)
    else:
        table.add_column(name, justify="right", no_wrap=True, min_width=7)


def _chosen(table: Table, items: Sequence[Any], room: int, needs_a_look: Any) -> list[Any]:
    """As many as there is room for; how many are left out is said under the table."""
    room = max(room - 1, 1)
    if len(items) <= room:
        return list(items)
    shown = max(room - 1, 1)
    table.caption = Text(f"… and {len(items) - shown:,} more", style=DIM)
    table.caption_justify = "left"
    return sorted(items, key=lambda item: not needs_a_look(item))[:shown]
