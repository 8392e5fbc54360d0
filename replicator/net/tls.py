"""Who a node is to its peers, kept as its files are now.

Both ends of a connection show a certificate of the cluster's CA; see `replicator.net.credentials`
for what that has to be. `Tls` reads the files anew when they change: a renewed certificate or
revocation list needs no restart, and whatever is wrong with new files, the old ones stay in force.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from replicator.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from replicator.net.credentials import Credentials

LOOK_SECONDS = 2.0
"""How often the files are looked at, and so how soon a revocation takes effect."""

_Stamp = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """Who the other end of a safe connection has shown to be: text of its certificate's common
    name, and its serial number."""

    name: str
    serial: int


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a node's credentials lie, each file PEM.

    Attributes:
        ca: certificates of the cluster's CA; several while one replaces another.
        certificate, key: this node's; the key without a password, and closed to other users.
        revoked: revocation lists of the CA; None where nothing is ever revoked.
    """

    ca: Path
    certificate: Path
    key: Path
    revoked: Path | None = None

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> "TlsFiles":
        """The files that a setting names.

        Raises:
            ConfigError: one is unknown or missing, or is no path.
        """
        known = [field.name for field in fields(cls)]
        for name in mapping:
            if name not in known:
                raise ConfigError(f"tls has no {name!r}: it takes {', '.join(known)}")
        given = {name: value for name, value in mapping.items() if value is not None}
        for name, value in given.items():
            if not isinstance(value, str) or not value:
                raise ConfigError(f"tls: {name}={value!r}: write the path of a file")
        lacking = [name for name in known if name not in given and name != "revoked"]
        if lacking:
            raise ConfigError(
                f"tls lacks {', '.join(lacking)}: name the files ca, certificate and key, and "
                "revoked where there is a revocation list; `replicator certs init` makes them"
            )
        return cls(**{name: Path(value) for name, value in given.items()})

    def stamp(self) -> _Stamp:
        """What changes when a file is replaced or written; also through a symbolic link."""
        return tuple(_stamp(getattr(self, field.name)) for field in fields(self))


class Tls:
    """The credentials of a node. For one trio thread; made in any.

    Args:
        files: read at once.

    Raises:
        ConfigError: a file is missing, garbage, or does not fit the others; the message names it
            and says what to do.
        MissingExtraError: the package `cryptography` is not installed.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp = files.stamp()
        self._current = _read(files)
        self._told: frozenset[str] = frozenset()

    @property
    def server(self) -> ssl.SSLContext:
        """For the end that was dialled."""
        return self._current.server

    @property
    def client(self) -> ssl.SSLContext:
        """For the end that dials."""
        return self._current.client

    def check(self, stream: "trio.SSLStream[trio.SocketStream]") -> PeerCertificate:
        """Judge the other end of a connection after its handshake.

        Raises:
            PeerError: its certificate is revoked, or not one of a node.
        """
        return self._current.judge(stream.getpeercert(binary_form=True))

    def is_revoked(self, serial: int) -> bool:
        """Whether the certificate of this serial number is revoked."""
        return serial in self._current.revoked

    async def keep_fresh(
        self,
        on_change: Callable[[], None],
        trouble: Callable[[str], None],
        interval: float = LOOK_SECONDS,
    ) -> None:
        """Read the files again when they change, until cancelled.

        Args:
            on_change: called after new ones are in force: conversations with peers that are
                revoked now should end.
            trouble: told what a person should see to, each thing once as long as it lasts: files
                that cannot be used, a certificate that expires or has.
            interval: seconds between two looks.
        """
        while True:
            faults = await trio.to_thread.run_sync(self._look)
            if faults.is_new:
                on_change()
            self._tell(faults.texts, trouble)
            await trio.sleep(interval)

    def _look(self) -> "_Look":
        """Read what has changed; in a worker thread, files may be slow."""
        from replicator.net import credentials

        before = self._current
        texts: list[str] = []
        stamp = self._files.stamp()
        if stamp != self._stamp:
            try:
                self._current = credentials.read(self._files, before)
                self._stamp = stamp
            except ConfigError as error:
                texts.append(f"new TLS files are not used, the old ones stay in force: {error}")
                self._current = _with_revocations(self._files, before)
        texts += self._current.warnings(credentials.now())
        return _Look(self._current is not before, texts)

    def _tell(self, texts: list[str], trouble: Callable[[str], None]) -> None:
        for text in texts:
            if text not in self._told:
                trouble(text)
        self._told = frozenset(texts)


@dataclass(frozen=True, slots=True)
class _Look:
    is_new: bool
    texts: list[str]


def _read(files: TlsFiles) -> "Credentials":
    try:
        from replicator.net import credentials
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("cryptography"):
            raise
        raise MissingExtraError(
            "TLS needs cryptography, which is not installed; run: "
            "pip install 'level-replicator[tls]'"
        ) from error
    return credentials.read(files)


def _with_revocations(files: TlsFiles, current: "Credentials") -> "Credentials":
    """The same credentials with the revocation list as it is now, if that can be used: somebody
    who is to be kept out does not come in because of a certificate that was renewed badly."""
    from replicator.net import credentials

    try:
        revoked, until = credentials.revocations(files, current.authorities)
    except ConfigError:
        return current
    if (revoked, until) == (current.revoked, current.revoked_until):
        return current
    return replace(current, revoked=revoked, revoked_until=until)


def _stamp(path: Path | None) -> tuple[int, ...] | None:
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    if found is None:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
