"""docs/CLIENT.md: its code runs as printed, and its tables are the program's."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import replicator
from replicator.faces.client import limits
from replicator.faces.client.retries import RETRIES, Retry
from tests.test_readme import SECONDS_MAX, commands, environment, start_daemon

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "CLIENT.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.processes
def test_the_code_runs_as_printed(tmp_path: Path) -> None:
    daemons = []
    try:
        (console,) = blocks("console")
        for command, _ in commands(console):
            daemons.append(start_daemon(command.removesuffix("&"), tmp_path))
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", "\n".join(blocks("python"))],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
        assert done.returncode == 0, done.stderr
        assert "b'user:4' b'Hedy'" in done.stdout
    finally:
        for daemon in daemons:
            daemon.send_signal(signal.SIGTERM)
        for daemon in daemons:
            daemon.communicate(timeout=SECONDS_MAX)


ROWS: dict[Retry, str] = {
    Retry.ANYWHERE: "tried again at any daemon",
    Retry.HERE: "tried again at the same daemon",
    Retry.NEVER: "`OutcomeUnknown`",
}
COMMANDS_OF: dict[str, bytes] = {
    "get": b"GET",
    "get_many": b"MGET",
    "iterator": b"REPL.SCAN",
    "ttl": b"PTTL",
    "put": b"REPL.PUT",
    "delete": b"REPL.DELETE",
    "write_batch": b"REPL.BATCH",
    "expire": b"PEXPIRE",
    "persist": b"PERSIST",
    "wait_for": b"REPL.WAITFOR",
    "incr": b"INCRBY",
    "set_if_absent": b"SET NX",
    "update": b"REPL.PUT IF",
}


def test_the_table_of_what_is_tried_again() -> None:
    table = TEXT.split("| call | after a lost answer |\n", 1)[1].split("\n\n", 1)[0]
    told: dict[str, str] = {}
    for row in table.splitlines()[1:]:
        calls, fate = (cell.strip() for cell in row.strip("|").split("|"))
        told |= dict.fromkeys(re.findall(r"`(\w+)", calls), fate)
    told.pop("execute")
    told.pop("idempotent", None)
    for call, fate in told.items():
        assert hasattr(replicator.Client, call), call
        command = COMMANDS_OF.get(call, f"REPL.{call.upper()}".encode())
        assert fate.startswith(ROWS[RETRIES.get(command, Retry.NEVER)]), call
    methods = {name for name in dir(replicator.Client) if not name.startswith("_")}
    assert methods - set(told) == {"close", "closed", "endpoint", "execute", "prefixed_db"}


def test_numbers_and_names() -> None:
    assert f"| `timeout` | {limits.CLIENT_SECONDS:g} s |" in TEXT
    assert f"| `catch_up` | {limits.CLIENT_CATCH_UP_SECONDS:g} s |" in TEXT
    assert f"| `connections_max` | {limits.CLIENT_CONNECTIONS_MAX} |" in TEXT
    assert f"{limits.CLIENT_HOLDOFF_MIN:g} s at first" in TEXT
    assert f"up to {limits.CLIENT_HOLDOFF_MAX:g} s, and drawn" in TEXT
    assert f"each time, {limits.CLIENT_UPDATES_MAX} times" in TEXT
    assert f"may take {limits.CLIENT_ANSWER_SECONDS:g} s beyond" in TEXT
    for name in re.findall(r"^\| `(\w+(?:Error|Unknown|Replicated))`", TEXT, re.MULTILINE):
        assert hasattr(replicator, name), name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (DOCS / target).exists(), target
