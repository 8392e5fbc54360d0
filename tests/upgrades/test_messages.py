"""Version 1 of the protocol is as it was: what either version encodes, the other decodes, to the
byte. What came later the version before cannot read, so it must never be sent any."""

from dataclasses import fields

import hypothesis
import pytest
from hypothesis import given

from replicator.protocol.codec import decode, encode
from replicator.protocol.messages import SINCE, Hello, Message
from tests.protocol.samples import messages
from tests.protocol.test_messages import GOLDEN
from tests.upgrades.aside import package, translated_to_ours

KINDS: set[type] = set(Message.__args__)
FIRST = KINDS - set(SINCE)
"""The messages of version 1."""

GENERATED = hypothesis.settings(phases=[hypothesis.Phase.generate], max_examples=1000)
GOLDEN_BYTES = [(message, bytes.fromhex(golden)) for message, golden in GOLDEN]

then = package()["protocol.codec"]
Refused = package()["errors"].ProtocolError


def same(ours: Message, theirs: object) -> bool:
    """Whether messages of the two versions say the same, as far as the earlier one has words."""
    told = translated_to_ours(theirs)
    return type(told) is type(ours) and all(
        getattr(told, field.name) == getattr(ours, field.name)
        for field in fields(theirs)  # type: ignore[arg-type]
    )


def test_version_1_has_the_messages_that_it_had() -> None:
    assert {kind.__name__ for kind in FIRST} == {
        kind.__name__ for kind in package()["protocol.messages"].Message.__args__
    }
    assert set(SINCE.values()) <= {2}


@pytest.mark.parametrize("kind", sorted(KINDS, key=lambda kind: kind.__name__))
def test_every_message_has_its_bytes_and_is_tried_at_random(kind: type) -> None:
    assert any(type(message) is kind for message, _ in GOLDEN)
    hypothesis.find(messages, lambda message: type(message) is kind, settings=GENERATED)


@pytest.mark.parametrize(
    ("message", "payload"),
    [pair for pair in GOLDEN_BYTES if type(pair[0]) in FIRST],
    ids=lambda value: type(value).__name__ if type(value) in KINDS else "",
)
def test_the_bytes_of_version_1(message: Message, payload: bytes) -> None:
    read = then.decode(payload)
    assert same(message, read)
    assert then.encode(read) == payload or isinstance(message, Hello)
    assert encode(message) == payload


@given(messages.filter(lambda message: type(message) in FIRST))
def test_what_one_version_says_the_other_understands(message: Message) -> None:
    read = then.decode(encode(message))
    assert same(message, read)
    back = then.encode(read)
    if isinstance(message, Hello):
        assert same(decode(back), read), "what it does not say has a meaning, too"
    else:
        assert back == encode(message)
        assert decode(back) == message


@pytest.mark.parametrize(
    "payload",
    [payload for message, payload in GOLDEN_BYTES if type(message) not in FIRST],
)
def test_what_came_later_the_version_before_cannot_read(payload: bytes) -> None:
    with pytest.raises(Refused, match="there is no message with tag"):
        then.decode(payload)
