"""Commands on a terminal of a test: what they write, codes that a terminal acts on included."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence

from tests.cli.daemons import REPLICATOR, WAIT_SECONDS


class Terminal:
    """A command whose input, output and errors are a terminal.

    Args:
        program: what is run instead of ``replicator``.
        width, height, term: of the terminal, and what kind it is.

    Attributes:
        text: all that was written so far.
    """

    def __init__(
        self,
        *arguments: str,
        program: Sequence[str] = (REPLICATOR,),
        width: int = 100,
        height: int = 30,
        term: str = "xterm-256color",
    ) -> None:
        self._ours, self._theirs = pty.openpty()
        self.resize(width, height)
        self.before = termios.tcgetattr(self._theirs)
        self.text = ""
        self.process = subprocess.Popen(
            [*program, *arguments],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**os.environ, "TERM": term, "LANG": "C.UTF-8"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is one
        )

    def resize(self, width: int, height: int) -> None:
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, size)

    @property
    def modes(self) -> list[object]:
        """How the terminal is set."""
        return termios.tcgetattr(self._theirs)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def until(self, condition: Callable[[str], bool]) -> None:
        """Read until what was written is so."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition(self.text):
            assert time.monotonic() < deadline, self.text[-3000:]
            self._read(0.1)

    def wait(self) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text[-3000:]
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], seconds)
        if ready:
            self.text += os.read(self._ours, 1 << 16).decode(errors="replace")
        return bool(ready)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)
