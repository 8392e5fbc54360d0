"""``status --watch`` as a process: on a terminal, into a pipe, with a daemon that goes away."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import replicator as library
from tests.cli.daemons import REPLICATOR, Daemon, replicator, serving
from tests.cli.terminal import Terminal

pytestmark = pytest.mark.processes

ALTERNATE, NORMAL = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(tmp_path_factory.mktemp("watch") / "a") as daemon:
        yield daemon


def watching(daemon: Daemon, *more: str) -> list[str]:
    return ["status", "--data", str(daemon.data), "--watch", "--interval", "0.1", *more]


@pytest.mark.parametrize("keys", [b"q", b"\x03"])
def test_a_terminal_is_left_as_it_was(daemon: Daemon, keys: bytes) -> None:
    with Terminal(*watching(daemon)) as terminal:
        terminal.until(lambda text: "this node" in text)
        assert ALTERNATE in terminal.text
        assert terminal.modes != terminal.before  # keys come at once, unseen
        with library.connect(f"unix:{daemon.data}") as db:
            for number in range(50):
                db.put(b"%d" % number, b"v")
        terminal.until(lambda text: "▇" in text or "█" in text)
        terminal.press(b"x")
        terminal.resize(45, 12)
        seen = len(terminal.text)
        terminal.until(lambda text: "…" in text[seen:])
        terminal.press(keys)
        assert terminal.wait() == 0
        assert (
            terminal.text.rstrip().endswith(NORMAL + "\x1b[?25h") or NORMAL in terminal.text[-40:]
        )
        assert terminal.modes == terminal.before
        assert "Traceback" not in terminal.text


def test_a_daemon_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    options = ("--listen", "127.0.0.1:0", "--no-multicast", "--name", "x\x1b[7m")
    daemon = Daemon(tmp_path / "a", *options)
    try:
        with Terminal(*watching(daemon)) as terminal:
            terminal.until(lambda text: r"x\x1b[7m" in text)
            daemon.end(signal.SIGKILL)
            terminal.until(lambda text: "looking again" in text)
            daemon = Daemon(tmp_path / "a", *options)
            terminal.until(lambda text: "the daemon answers again" in text)
            assert "\x1b[7m" not in terminal.text
            terminal.press(b"q")
            assert terminal.wait() == 0
    finally:
        daemon.clean_up()


def test_into_a_pipe_it_is_a_line_a_look(daemon: Daemon) -> None:
    with subprocess.Popen(
        [REPLICATOR, *watching(daemon)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    for line in lines:
        assert "  a: " in line
        assert "writes/s" in line
        assert "\x1b" not in line


def test_a_terminal_that_can_do_nothing_gets_lines_too(daemon: Daemon) -> None:
    with Terminal(*watching(daemon), term="dumb") as terminal:
        terminal.until(lambda text: text.count("writes/s") >= 2)
        assert "\x1b" not in terminal.text
        terminal.press(b"\x03")
        assert terminal.wait() == 0


def test_json_is_a_document_a_look_and_a_closed_pipe_ends_it(daemon: Daemon) -> None:
    with subprocess.Popen(
        [REPLICATOR, *watching(daemon, "--json")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        documents = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.stdout.close()
        assert process.wait(30) == 141
    assert documents[0]["time_ms"] < documents[1]["time_ms"]
    assert documents[0]["name"] == "a"
    assert [member["name"] for member in documents[0]["known_members"]] == ["a"]


def test_without_a_daemon_there_is_nothing_to_watch(tmp_path: Path) -> None:
    result = replicator("status", "--data", str(tmp_path / "none"), "--watch")
    assert result.exit_code == 2
    assert "--watch looks at a running node" in result.stderr
