"""docs/CLI.md tells the truth: every command, exit code and socket command."""

import re
from pathlib import Path

import msgspec

from replicator.config import ADDRESSES_PER_MEMBER_MAX, CONNECTIONS_PER_HOST_MAX, Settings
from replicator.faces.cli.app import cli
from replicator.faces.cli.codes import Exit
from replicator.faces.commands import COMMANDS
from replicator.faces.configuration import File
from replicator.faces.limits import CLOSE_SECONDS_MAX
from replicator.faces.redis.limits import (
    RESP_ARGUMENTS_MAX,
    RESP_CLIENTS_MAX,
    RESP_REQUEST_BYTES_MAX,
)
from replicator.peers import membership, upkeep

DOCS = (Path(__file__).parents[2] / "docs" / "CLI.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    table = DOCS.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    lines = table.strip().split("\n")[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_command_has_its_documents() -> None:
    (commands, _) = DOCS.split("| command | documents |", 1)[1].split("\n\n", 1)
    assert re.findall(r"^\| `([\w-]+)`", commands, re.MULTILINE) == list(cli.commands)


def test_every_exit_code() -> None:
    assert [int(code) for code, _ in rows("exit code")] == list(Exit)


def test_every_command_of_the_socket_that_redis_has_not() -> None:
    (commands, _) = DOCS.split("| command | answer |", 1)[1].split("\n\n", 1)
    named = re.findall(r"(?:^\| |, )`([A-Z.]+)", commands, re.MULTILINE)
    own = [name.decode() for name in COMMANDS if name.startswith(b"REPL.")]
    assert named == own


def test_limits() -> None:
    assert f"within {CLOSE_SECONDS_MAX:g} s" in DOCS
    assert f"{RESP_ARGUMENTS_MAX:,} arguments and {RESP_REQUEST_BYTES_MAX >> 20} MiB" in DOCS
    assert f"At most {RESP_CLIENTS_MAX:,} clients" in DOCS


def test_the_page_on_networks_names_defaults_and_intervals() -> None:
    text = (Path(__file__).parents[2] / "docs" / "NETWORK.md").read_text()
    settings = Settings()
    rows = re.findall(r"^\| `(\w+)` \| ([0-9.]+)(?: s)? \|", text, re.MULTILINE)
    assert len(rows) == 10
    for name, default in rows:
        assert float(default) == getattr(settings, name), name
    assert f"at most {ADDRESSES_PER_MEMBER_MAX} for each node" in text
    assert f"{CONNECTIONS_PER_HOST_MAX} from one address" in text
    assert f"every {membership.ACK_SECONDS:g} s while" in text
    assert f"every {membership.HEARTBEAT_SECONDS:g} s |" in text
    assert f"after {membership.SILENCES_MAX} of those" in text
    assert f"more than {membership.FEW_MEMBERS} nodes" in text
    assert f"every {upkeep.COALESCE_SECONDS * 1000:g} ms at most" in text
    for field in msgspec.structs.fields(File):
        if field.name == "discovery":
            for key in msgspec.structs.fields(field.type):
                if key.name not in ("interfaces", "interval"):
                    assert f"`[discovery] {key.name}`" in text
