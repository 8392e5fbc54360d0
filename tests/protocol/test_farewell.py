"""What a peer is told at the end."""

from typing import get_args

import pytest

from replicator.errors import (
    ClusterChangedError,
    CommitError,
    ForkError,
    PeerError,
    PeerRefusedError,
    ProtocolError,
)
from replicator.protocol.codec import decode, encode
from replicator.protocol.effects import CloseCode
from replicator.protocol.farewell import bye, code_of
from replicator.protocol.messages import REASON_BYTES_MAX, Bye


@pytest.mark.parametrize("code", get_args(CloseCode))
def test_every_end_can_be_told(code: CloseCode) -> None:
    message = bye(code, "why")
    assert decode(encode(message)) == message


def test_codes_of_a_bye_are_told_as_they_are_and_the_others_are_closing() -> None:
    assert bye("refused", "why") == Bye("why", "refused")
    assert bye("silent", "why") == Bye("why", "closing")
    assert bye("failed", "no space on /secret") == Bye("the store of this node failed", "closing")


def test_a_reason_is_cut_between_characters() -> None:
    assert bye("closing", "x" + "ä" * REASON_BYTES_MAX).reason == "x" + "ä" * 499
    assert bye("closing", "\udcff").reason == "?"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ForkError(), "fork"),
        (ClusterChangedError(), "busy"),
        (ProtocolError(), "protocol"),
        (PeerRefusedError(), "refused"),
        (PeerError(), "failed"),
        (CommitError(), "failed"),
        (ValueError(), "failed"),
    ],
)
def test_codes_of_errors(error: Exception, code: str) -> None:
    assert code_of(error) == code
