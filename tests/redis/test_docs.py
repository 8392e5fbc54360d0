"""docs/REDIS.md tells the truth: which commands there are, their limits, what is decided here."""

import re
from pathlib import Path

import pytest

from replicator.config import KEY_BYTES_MAX, TTL_SECONDS_MAX, VALUE_BYTES_MAX
from replicator.faces.access import Role
from replicator.faces.commands import COMMANDS
from replicator.faces.handle import Replica
from replicator.faces.redis.limits import (
    RESP_ARGUMENTS_MAX,
    RESP_CURSORS_MAX,
    RESP_KEYS_AT_ONCE,
    RESP_LOGIN_FREE,
    RESP_LOGIN_PARDON_SECONDS,
    RESP_LOGIN_WAIT_SECONDS,
    RESP_LOGINS_WRONG_MAX,
    RESP_NOTIFICATIONS_MAX,
    RESP_OUTPUT_ALL_BYTES_MAX,
    RESP_PATTERN_BYTES_MAX,
    RESP_PUSHED_BYTES_MAX,
    RESP_REQUEST_BYTES_MAX,
    RESP_SUBSCRIPTIONS_MAX,
    RESP_TRANSACTION_BYTES_MAX,
    RESP_TRANSACTION_RESULTS_BYTES_MAX,
    RESP_TRANSACTION_WORDS_MAX,
    RESP_VALUES_AT_ONCE_BYTES,
    RESP_WATCHED_MAX,
    RESP_WRITES_KEYS,
)
from replicator.faces.redis.parameters import PARAMETERS
from replicator.faces.redis.turn import Turn
from replicator.faces.stepwise import Session

TEXT = (Path(__file__).parents[2] / "docs" / "REDIS.md").read_text()
SECTIONS = {part.split("\n", 1)[0]: part for part in TEXT.split("\n## ")[1:]}
ROW = re.compile(r"^\| ((?:`[^`]+`(?:, )?)+) \|(.*)\|$", re.MULTILINE)

ARGUMENTS = {
    b"SETEX": (b"1000", b"5"),
    b"PSETEX": (b"1000", b"5"),
    b"GETRANGE": (b"0", b"1"),
    b"SUBSTR": (b"0", b"1"),
    b"SETRANGE": (b"0", b"5"),
    b"EXPIREAT": (b"9000000000",),
    b"PEXPIREAT": (b"9000000000000",),
}
"""Behind the key, where anything does not do."""


def named(cell: str) -> list[bytes]:
    return [name.encode() for name in re.findall(r"(?:^|, )`([A-Z]+)", cell)]


def test_every_command_that_redis_has() -> None:
    told = [
        name
        for heading, section in SECTIONS.items()
        if heading != "Decided on one node"
        for cell, _ in ROW.findall(section)
        for name in named(cell)
    ]
    assert set(told) == {name for name in COMMANDS if not name.startswith(b"REPL.")}


def test_what_can_be_set() -> None:
    names = {name for name, one in PARAMETERS.items() if one.set is not None}
    row = next(row for row in TEXT.split("\n") if row.startswith("| `CONFIG GET"))
    assert set(re.findall(r"`([a-z-]+)`", row)) - {"admin"} == names


def test_what_two_nodes_may_decide_both() -> None:
    for cell, _ in ROW.findall(SECTIONS["Decided on one node"]):
        assert set(named(cell)) <= COMMANDS.keys()


def test_limits() -> None:
    assert f"at most {KEY_BYTES_MAX >> 20} MiB, a value {VALUE_BYTES_MAX >> 20} MiB" in TEXT
    assert f"{RESP_REQUEST_BYTES_MAX >> 20} MiB and {RESP_ARGUMENTS_MAX:,} words" in TEXT
    assert f"{TTL_SECONDS_MAX:.0e}".replace("+", "") in TEXT
    assert f"{RESP_KEYS_AT_ONCE:,} keys or {RESP_VALUES_AT_ONCE_BYTES >> 20} MiB" in TEXT
    assert f"{RESP_PATTERN_BYTES_MAX:,} bytes" in TEXT
    assert f"{RESP_CURSORS_MAX:,} that were used last" in TEXT
    assert f"at most {RESP_TRANSACTION_WORDS_MAX:,} words" in TEXT
    assert f"and {RESP_TRANSACTION_BYTES_MAX >> 20} MiB; beyond that" in TEXT
    assert f"values have {RESP_TRANSACTION_RESULTS_BYTES_MAX >> 20} MiB" in TEXT
    assert f"watches up to {RESP_WATCHED_MAX:,} keys" in TEXT
    assert f"{RESP_SUBSCRIPTIONS_MAX:,} channels and patterns" in TEXT
    assert f"when {RESP_PUSHED_BYTES_MAX >> 20} MiB of messages" in TEXT
    assert f"leave {RESP_OUTPUT_ALL_BYTES_MAX >> 20} MiB unread" in TEXT
    assert RESP_NOTIFICATIONS_MAX == 100_000
    assert (RESP_LOGIN_FREE, RESP_LOGINS_WRONG_MAX, RESP_LOGIN_PARDON_SECONDS) == (3, 10, 60)
    assert f"after {RESP_LOGIN_WAIT_SECONDS} s, then twice as long, up to 2 s" in TEXT
    assert f"commits of {'fifty' if RESP_WRITES_KEYS == 50 else RESP_WRITES_KEYS}" in TEXT
    assert COMMANDS[b"FLUSHALL"].needs == COMMANDS[b"FLUSHDB"].needs == Role.ADMIN


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        (name, rest.rsplit("|", 1)[-1].strip())
        for words, rest in ROW.findall(SECTIONS["Strings and keys"])
        for name in named(words)
        if COMMANDS[name].first
    ],
)
def test_what_is_decided_here(replica: Replica, name: bytes, cell: str) -> None:
    """A command decides by what it reads exactly where it holds the store."""
    command = COMMANDS[name]
    assert command.run is not None
    replica.put(b"key", b"5")
    count = (command.least - 2) if command.most is None else command.most - 2
    arguments = ARGUMENTS.get(name, (b"50",) * count)
    turn = Turn(replica)
    try:
        command.run(turn, Session(), [name, b"key", *arguments][: command.most])
        assert turn.is_held == (cell == "yes"), cell
    finally:
        turn.abandon()
