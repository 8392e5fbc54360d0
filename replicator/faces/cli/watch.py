"""``status --watch``: looks at a running node every interval, on a terminal or for a log."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from replicator.errors import RefusedError, UnreachableError, UsageError
from replicator.faces.cli.door import SocketDoor, daemon_door
from replicator.faces.cli.output import escaped, jsonable, print_json
from replicator.faces.cli.watching import History, Look

RESIZE_SECONDS = 0.1
"""How often it is looked whether the terminal has another size."""

ENDING_KEYS = frozenset(b"qQ\x03\x04")
"""q, Ctrl-C, Ctrl-D."""


class Watched:
    """A node that is looked at through its daemon, which may go away and come back."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._door: SocketDoor | None = None

    def look(self) -> Look:
        """The node now.

        Raises:
            UsageError: the socket is another user's.
        """
        at = time.monotonic()
        try:
            if self._door is None:
                self._door = daemon_door(self._data)
            if self._door is None:
                return Look(at, problem=f"no daemon runs on {self._data}")
            status: Any = jsonable(self._door.call(b"REPL.STATUS"))
            members: Any = jsonable(self._door.call(b"REPL.MEMBERS"))
        except (UnreachableError, RefusedError) as error:
            self.close()
            return Look(at, problem=str(error))
        return Look(at, status, tuple(members))

    def close(self) -> None:
        """Hang up."""
        if self._door is not None:
            self._door.close()
            self._door = None


def watch(data: Path, interval: float, as_json: bool) -> None:
    """Show a node until somebody ends it: q, Ctrl-C, or whoever reads goes away.

    Args:
        interval: seconds between two looks.

    Raises:
        UsageError: no daemon runs there.
    """
    watched = Watched(data)
    try:
        first = watched.look()
        if first.status is None:
            raise UsageError(f"{first.problem}: --watch looks at a running node")
        is_dumb = os.environ.get("TERM", "").lower() in ("", "dumb", "unknown")
        if sys.stdout.isatty() and not is_dumb and not as_json:
            _on_terminal(watched, first, str(data), interval)
        else:
            _for_log(watched, first, interval, as_json)
    except KeyboardInterrupt:
        pass
    finally:
        watched.close()


def _for_log(watched: Watched, first: Look, interval: float, as_json: bool) -> None:
    history = History()
    for look in _looks(watched, first, interval, time.sleep):
        events = history.add(look, time.time())
        if as_json:
            problem = {"problem": look.problem} if look.problem else {}
            members = {"known_members": look.members} if look.status else {}
            print_json(
                {"time_ms": time.time_ns() // 1_000_000, **(look.status or problem), **members}
            )
        else:
            for event in events:
                click.echo(f"{_clock()}  {event}")
            if look.status is not None:
                click.echo(f"{_clock()}  {summary(history)}")
        sys.stdout.flush()


def _looks(
    watched: Watched, first: Look, interval: float, pause: Callable[[float], object]
) -> Iterator[Look]:
    yield first
    due = time.monotonic()
    while True:
        due = max(due + interval, time.monotonic())
        pause(max(due - time.monotonic(), 0))
        yield watched.look()


def summary(history: History) -> str:
    """A node in one line."""
    status = history.now.status
    assert status is not None
    peers = status["peers"]
    connected = sum(peer["connected"] for peer in peers)
    behind = [peer["lag_entries"] for peer in peers if peer["lag_entries"] is not None]
    seconds = [peer["lag_seconds"] for peer in peers if peer["lag_seconds"] is not None]
    return (
        f"{escaped(status['name'])}: {history.rate('writes'):,.0f} writes/s, records "
        f"{history.rate('records in'):,.0f}/s in, {history.rate('records out'):,.0f}/s out; "
        f"{connected} of {len(peers)} peers connected, behind by at most "
        f"{max(behind, default=0):,} entries for {max(seconds, default=0.0):.1f} s; conflicts "
        f"{status['counters']['conflicts']:,}; write gate {escaped(status['write_gate'])}"
    )


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _on_terminal(watched: Watched, first: Look, where: str, interval: float) -> None:
    # Here, not at the top: only a terminal needs it, and it takes long to import.
    from rich.console import Console
    from rich.live import Live

    from replicator.faces.cli.dashboard import Dashboard

    console = Console()
    history = History()
    view = Dashboard(history, escaped(where), interval)
    keys = _Keys()
    with keys.listening(), Live(view, console=console, screen=True, auto_refresh=False) as live:
        size = console.size

        def pause(seconds: float) -> None:
            nonlocal size
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                keys.wait(min(left, RESIZE_SECONDS))
                if console.size != size:
                    size = console.size
                    live.refresh()

        for look in _looks(watched, first, interval, pause):
            history.add(look, time.time())
            live.refresh()


class _Keys:
    """The keys that a person presses, where standard input is a terminal."""

    def __init__(self) -> None:
        self._file = sys.stdin.fileno() if sys.stdin.isatty() else None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Get each key at once, unseen, for as long as the context is open."""
        if self._file is None:
            yield
            return
        before = termios.tcgetattr(self._file)
        tty.setcbreak(self._file)
        try:
            yield
        finally:
            termios.tcsetattr(self._file, termios.TCSADRAIN, before)

    def wait(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            KeyboardInterrupt: a key was pressed that ends.
        """
        if self._file is None:
            time.sleep(seconds)
            return
        ready, _, _ = select.select([self._file], [], [], seconds)
        if ready and ENDING_KEYS & set(os.read(self._file, 64) or b"\x04"):
            raise KeyboardInterrupt
