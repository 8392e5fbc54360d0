"""A user's resolver that does everything it should not, in two real programs (R6)."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .resolving_keys import FAULTY, KEYS

pytestmark = pytest.mark.processes

PROGRAM = str(Path(__file__).parent / "resolving.py")
WAIT_SECONDS = 60.0


class Program:
    """One run of `resolving.py`."""

    def __init__(self, directory: Path, values: str) -> None:
        self._log = directory.with_suffix(".log")
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, PROGRAM, str(directory), values],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def told(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log
        return json.loads(line)

    def say(self, text: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self) -> int:
        self.say()
        try:
            return self.process.wait(WAIT_SECONDS)
        finally:
            self.clean_up()

    def clean_up(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


def test_whatever_a_resolver_does_both_show_the_same(tmp_path: Path) -> None:
    """Each key on which it fails shows the default order's; the others what it says; nothing waits
    for ever, neither a round nor the end of the program."""
    small, large = Program(tmp_path / "small", "small"), Program(tmp_path / "large", "large")
    try:
        address = large.told()["address"]
        small.told()
        small.say(address)
        large.say("")
        started = time.monotonic()
        assert small.told() == {"in step": True} == large.told()
        assert time.monotonic() - started < WAIT_SECONDS
        for one in (small, large):
            one.say()
        results = [one.told() for one in (small, large)]
        for one, found in zip((small, large), results, strict=True):
            shown = {key: value for key, value in found["shown"].items() if key in KEYS}
            expected = dict.fromkeys(set(KEYS) - {"tombstone"}, "1")
            expected |= dict.fromkeys(FAULTY, "2") | {"merges": "1+2"}
            assert shown == expected
            assert found["reasons"]["fault"] == len(FAULTY), found["reasons"]
            assert found["reasons"]["merged"] == 1
            assert found["faults"] >= len(FAULTY)
            assert set(found["conflicts"]) == set(KEYS)
            assert "LookupError('no idea')" in one.log
            assert "it took longer than 0.3 s" in one.log
        assert [one.end() for one in (small, large)] == [0, 0]
    finally:
        small.clean_up()
        large.clean_up()
