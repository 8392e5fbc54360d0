"""TLS handshakes between nodes, and words for what goes wrong in one.

In TLS 1.3 the dialling end is through before the other one has looked at its certificate. So the
end that was dialled says the last word: one byte 0 if it accepts the dialler, else the length of a
reason and the reason. Before that neither end sends anything of its own.

trio does not send the alert by which OpenSSL tells the other end why a handshake has failed, so it
is sent here.
"""

import socket
import ssl
from contextlib import suppress

import trio

from replicator.config import GREETING_BYTES_MAX
from replicator.errors import PeerError, ProtocolError
from replicator.net.tls import PeerCertificate, Tls
from replicator.protocol.codec import decode
from replicator.protocol.frames import FrameReader
from replicator.protocol.messages import Bye

VERDICT_BYTES_MAX = 255
"""Longest reason for which a certificate is refused."""

Safe = trio.SSLStream[trio.SocketStream]

_TLS_HANDSHAKE = b"\x16"
"""The first byte of TLS. No frame of a greeting begins with it: that would be one of 369 MB."""

_PLAIN = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
)

_REFUSALS = {
    "UNKNOWN_CA": "it is not of the peer's cluster CA",
    "CERTIFICATE_EXPIRED": "it has expired",
    "CERTIFICATE_REVOKED": "it is revoked",
    "CERTIFICATE_REQUIRED": "it was shown none",
    "BAD_CERTIFICATE": "it is not valid yet, or damaged",
    "UNSUPPORTED_CERTIFICATE": "it was not made for a node",
    "CERTIFICATE_UNKNOWN": "it cannot be used",
}
"""What the alerts of the other end say of our certificate."""

_FAULTS = {
    9: "is not valid yet: do the clocks agree?",
    10: "has expired: have a new one issued (`replicator certs issue NAME --renew`)",
    18: "is not of this cluster's CA",
    19: "is not of this cluster's CA",
    20: "is not of this cluster's CA",
    21: "is not of this cluster's CA",
    26: "was not made for a node",
}
"""What OpenSSL's verification finds wrong with a peer's certificate, by its number."""


async def speaks_tls(stream: trio.SocketStream) -> bool:
    """Whether the dialling end begins with TLS; waits for its first byte, and leaves it there.

    Raises:
        PeerError: it has gone.
    """
    try:
        first = await stream.socket.recv(1, socket.MSG_PEEK)
    except OSError as error:
        raise PeerError(f"the peer has gone before the handshake: {error.strerror}") from error
    if not first:
        raise PeerError("the peer has gone before the handshake")
    return first == _TLS_HANDSHAKE


async def take_in(stream: trio.SocketStream, tls: Tls) -> tuple[Safe, PeerCertificate]:
    """The handshake of the end that was dialled. On an error `stream` stays the caller's.

    Raises:
        PeerError: there is no safe connection with that peer; it was told why.
    """
    safe = trio.SSLStream(stream, tls.server, server_side=True, https_compatible=True)
    await _shake_hands(safe)
    try:
        certificate = tls.check(safe)
    except PeerError as error:
        reason = str(error).encode()[:VERDICT_BYTES_MAX]
        with suppress(trio.BrokenResourceError):
            await safe.send_all(bytes([len(reason)]) + reason)
        raise
    try:
        await safe.send_all(b"\0")
    except trio.BrokenResourceError as error:
        raise PeerError("the peer has gone at the end of the handshake") from error
    return safe, certificate


async def go_in(stream: trio.SocketStream, tls: Tls) -> tuple[Safe, PeerCertificate]:
    """The handshake of the dialling end. On an error `stream` stays the caller's.

    Raises:
        PeerError: there is no safe connection with that peer.
    """
    line = _Overheard(stream)
    # What lies beneath is put in its place as soon as the handshake is over.
    safe: Safe = trio.SSLStream(line, tls.client, https_compatible=True)  # type: ignore[arg-type]
    try:
        await _shake_hands(safe)
    except PeerError as error:
        raise _in_plain_words(line.beginning) or error from error.__cause__
    safe.transport_stream = stream
    await _hear_verdict(safe)
    return safe, tls.check(safe)


async def _shake_hands(safe: Safe) -> None:
    try:
        await safe.do_handshake()
    except trio.BrokenResourceError as error:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if alert := safe._outgoing.read():
                await safe.transport_stream.send_all(alert)
        raise PeerError(_words(error.__cause__)) from error


async def _hear_verdict(safe: Safe) -> None:
    try:
        length = (await _exactly(safe, 1))[0]
        reason = await _exactly(safe, length)
    except trio.BrokenResourceError as error:
        raise PeerError(_words(error.__cause__)) from error
    if reason:
        text = reason.decode(errors="replace")
        raise PeerError(f"the peer refused this node's certificate: {text}")


async def _exactly(safe: Safe, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await safe.receive_some(count - len(data))
        if not more:
            raise PeerError("the peer has gone before it accepted this node's certificate")
        data += more
    return data


def _words(error: BaseException | None) -> str:
    """What has gone wrong in a handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = _FAULTS.get(error.verify_code, f"cannot be used ({error.verify_message})")
        return f"the peer's certificate {fault}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLSyscallError):
        return "the peer has gone in the midst of the handshake"
    if isinstance(error, ssl.SSLError):
        return _words_of_openssl(error.reason or str(error))
    if isinstance(error, OSError):
        return f"the connection was lost in the handshake: {error.strerror}"
    return "the connection was lost in the handshake"


def _words_of_openssl(reason: str) -> str:
    _, is_alert, alert = reason.partition("ALERT_")
    if is_alert and alert in _REFUSALS:
        return f"the peer refused this node's certificate: {_REFUSALS[alert]}"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "the peer shows no certificate"
    if reason in ("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW") or alert == "PROTOCOL_VERSION":
        return "the peer speaks no TLS 1.3"
    if reason in _PLAIN:
        return "the peer speaks without TLS, or another protocol"
    return f"no handshake ({reason.lower().replace('_', ' ')})"


def _in_plain_words(beginning: bytes) -> PeerError | None:
    """What a peer says that has answered without TLS; None where it has answered with it."""
    if not beginning or beginning[0] in (0x14, 0x15, 0x16):
        return None
    with suppress(ProtocolError):
        for payload in FrameReader().feed(beginning):
            message = decode(payload)
            if isinstance(message, Bye) and message.code == "busy":
                return PeerError(f"the peer turns this node away: {message.reason}")
    return PeerError(
        "the peer speaks without TLS: give it certificates too ([tls] in its configuration), or "
        "is it another program?"
    )


class _Overheard(trio.abc.Stream):
    """A stream that keeps the beginning of what comes in."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.beginning = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        self.beginning += data[: GREETING_BYTES_MAX - len(self.beginning)]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
