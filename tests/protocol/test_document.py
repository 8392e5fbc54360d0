"""What ``docs/PROTOCOL.md`` says in numbers and names is so. Its diagrams: `test_states`."""

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

from replicator import config
from replicator.protocol import messages
from replicator.protocol.codec import decode
from replicator.protocol.messages import BYE_CODES, Message
from tests.protocol.test_messages import GOLDEN

TEXT = (Path(__file__).parents[2] / "docs" / "PROTOCOL.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_tags_are_the_ones_in_the_document() -> None:
    written = {(int(tag), name.strip("`")) for tag, name, *_ in table("Messages")}
    actual = {(bytes.fromhex(text)[1], type(message).__name__) for message, text in GOLDEN}
    assert written == actual
    assert len(written) == len(get_args(Message))


def test_every_field_is_in_the_document() -> None:
    by_name = {kind.__name__: kind for kind in get_args(Message)}
    for _, name, listed, _ in table("Messages"):
        count = len(re.sub(r"\[[^]]*\]", "", listed).split(",")) if listed else 0
        assert count == len(fields(by_name[name.strip("`")])), name


def test_the_example_is_what_it_says() -> None:
    (example,) = re.findall(r"A `Known`, byte by byte: `([0-9a-f ]+)`", TEXT)
    (message,) = [message for message, _ in GOLDEN if isinstance(message, messages.Known)]
    decoded = decode(bytes.fromhex(example))
    assert isinstance(decoded, messages.Known)
    assert decoded.known.bounds(5) == message.known.bounds(5) == [1, 5, 9, 10]


def test_the_codes_are_the_ones_in_the_document() -> None:
    assert tuple(code.strip("`") for code, _ in table("Leaving")) == BYE_CODES


def test_the_limits_are_the_ones_in_the_document() -> None:
    units = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20}
    for what, limit, names in table("Limits"):
        numbers = [
            int(number) * units.get(unit, 1)
            for number, unit in re.findall(r"(\d+) ?(bytes|KiB|MiB)?", limit)
        ]
        actual = [
            getattr(config, name, getattr(messages, name, None))
            for name in re.findall(r"`(\w+)`", names)
        ]
        assert numbers == actual, what
