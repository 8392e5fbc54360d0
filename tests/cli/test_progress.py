"""Progress bars: what a terminal sees, and that nobody else sees anything."""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import plyvel
import pytest

from replicator.faces.cli import progress
from replicator.faces.cli.app import cli
from replicator.faces.cli.progress import Bar
from replicator.store import backup as backups
from replicator.store import digest
from tests.cli.daemons import replicator, replicator_process
from tests.cli.terminal import Terminal

KEYS = 3000

IMPATIENT = (
    sys.executable,
    "-c",
    "from replicator.faces import daemon; daemon.ADOPTION_LOG_KEYS = 1000; "
    "from replicator.faces.cli import main, progress; progress.PATIENCE_SECONDS = 0; main()",
)
"""The command line, which shows its bars at once, and logs where it shows none."""


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")


@contextmanager
def terminal(*, is_one: bool = True) -> Iterator[io.StringIO]:
    """What is written to standard error, a terminal, while the context is open."""
    screen = Screen() if is_one else io.StringIO()
    with redirect_stderr(screen), redirect_stdout(io.StringIO()):
        yield screen


@pytest.mark.usefixtures("impatient")
def test_a_bar_shows_how_far_it_is_and_goes() -> None:
    with terminal() as screen:
        with Bar("loading [bold]", 10) as show:
            show(5, "five [bold]")
            with show.aside():
                pass
        assert "loading [bold]" in screen.getvalue()
        show(6, "after its end")
        assert "after" not in screen.getvalue()


def test_what_ends_soon_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 1000.0)
    with terminal() as screen, Bar("loading") as show:
        show(5, "five")
        with show.aside():
            pass
        assert show.is_seen
    assert screen.getvalue() == ""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("is_one", "is_wanted"), [(True, False), (False, True)])
def test_where_nobody_looks_there_is_none(is_one: bool, is_wanted: bool) -> None:
    with terminal(is_one=is_one) as screen, Bar("loading", is_wanted=is_wanted) as show:
        show(5, "five")
        assert not show.is_seen
    assert screen.getvalue() == ""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("progress") / "lines"
    path.write_bytes(b"".join(b"key%06d\t%s\n" % (number, b"v" * 100) for number in range(KEYS)))
    return path


@pytest.fixture
def store(lines: Path, tmp_path: Path) -> Path:
    replicator("load", str(lines), "--data", str(tmp_path / "store"))
    return tmp_path / "store"


def shown(*arguments: str) -> str:
    """What a command shows on standard error, as text, every state of the bar included."""
    with terminal() as screen:
        code = cli.main(list(arguments), standalone_mode=False)
    assert code in (0, 1, None), screen.getvalue()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())


@pytest.mark.usefixtures("impatient")
def test_every_long_command_shows_one(
    store: Path, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "BACKUP_STEP_BYTES", 64 << 10)
    other = store.parent / "other"
    backup, exported = store.parent / "backup", store.parent / "exported"
    where = ["--data", str(store)]
    assert "loading" in shown("load", str(lines), "--data", str(other))
    assert "exporting" in shown("export", *where, str(exported))
    assert "loading" in shown("import", str(exported), "--data", str(other))
    assert "backing up" in shown("backup", *where, str(backup))
    assert "restoring" in shown("restore", str(backup), "--data", str(store.parent / "restored"))
    assert "checking" in shown("restore", "--check", str(backup))
    assert "verifying" in shown("verify", str(store))
    assert "comparing" in shown("diff", str(store), str(other))
    damage(other)
    assert "3,000 keys" in shown("verify", str(other), "--repair")
    assert "stripping" in shown("strip", "--yes", str(other))
    taken = shown("status", "--data", str(other))
    assert "taking over the data that is there" in taken
    assert "3,000 keys" in taken


@pytest.mark.usefixtures("impatient")
def test_a_digest_shows_one(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "STEP_KEYS", 1000)
    assert "2,000 keys" in shown("digest", "--data", str(store))


@pytest.mark.usefixtures("impatient")
def test_none_beside_json(store: Path) -> None:
    for command in (["verify", str(store)], ["digest", "--data", str(store)]):
        assert shown(*command, "--json") == ""


def damage(directory: Path) -> None:
    """Values changed behind the replicator's back."""
    with plyvel.DB(str(directory)) as db:
        for number in range(3):
            db.put(b"key%06d" % number, b"changed")


@pytest.mark.processes
def test_lines_of_output_are_not_torn_by_a_bar(store: Path) -> None:
    damage(store)
    with Terminal("verify", str(store), program=IMPATIENT, width=120) as command:
        assert command.wait() == 1
        text = command.text
    assert "━" in text
    for number in range(3):
        before, _ = text.split(f"value-changed  key{number:06d}\r\n")
        assert before.endswith(("\n", "\x1b[2K", "\x1b[?25h"))  # no bar on its line
    assert text.rstrip().splitlines()[-1].startswith("replicator verify")


@pytest.mark.processes
def test_a_daemon_that_takes_data_over_shows_one_and_logs_none(tmp_path: Path) -> None:
    data = tmp_path / "plain"
    with plyvel.DB(str(data), create_if_missing=True) as db, db.write_batch() as batch:
        for number in range(5000):
            batch.put(b"key%06d" % number, b"v")
    serve = ("serve", "--data", str(data), "--listen", "127.0.0.1:0", "--no-multicast")
    with Terminal(*serve, program=IMPATIENT, width=120) as command:
        command.until(lambda text: "ready: " in text)
        command.process.terminate()
        assert command.wait() == 0
    assert "taking over the data that is there" in command.text
    assert re.search(r"\d+,000 keys", command.text)
    assert "keys so far" not in command.text


@pytest.mark.processes
def test_into_a_log_there_is_none(store: Path) -> None:
    done = replicator_process("verify", str(store))
    assert done.stderr == ""
    assert done.stdout.startswith("sound: 3,000 keys")
