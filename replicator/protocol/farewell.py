"""How a conversation ends: which code an error has, and what the peer is told."""

from replicator.errors import (
    ClusterChangedError,
    ForkedContentsError,
    ForkError,
    PeerForgottenError,
    PeerRefusedError,
    ProtocolError,
)
from replicator.protocol.effects import CloseCode
from replicator.protocol.messages import BYE_CODES, REASON_BYTES_MAX, Bye

_CODES: dict[type[Exception], CloseCode] = {
    ForkError: "fork",
    ClusterChangedError: "busy",
    ProtocolError: "protocol",
    PeerForgottenError: "forgotten",
    PeerRefusedError: "refused",
    ForkedContentsError: "refused",
}


def code_of(error: Exception) -> CloseCode:
    """How a conversation ends in which this went wrong: "failed" for all that the peer has no
    part in."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), "failed")


def bye(code: CloseCode, reason: str) -> Bye:
    """What the peer is told, within the limits. What goes wrong inside this node is nobody else's
    business."""
    if code == "failed":
        reason = "the store of this node failed"
    text = reason.encode(errors="replace")[:REASON_BYTES_MAX].decode(errors="ignore")
    return Bye(text, code if code in BYE_CODES else "closing")
