"""The CA of a cluster, a directory: it issues the certificates of nodes, and revokes them.

    ca.crt, ca.key        the CA; the key never leaves this directory
    NAME.crt, NAME.key    of a node, to be copied to it together with ca.crt and revoked.crl
    revoked.crl           what is revoked; copied to every node when it has changed
    issued/SERIAL.crt     every certificate ever issued, so that it can be revoked later, also
                          when the files of the node are gone from here

No file is ever overwritten but ``revoked.crl``, which is replaced atomically: a renewal moves the
earlier files aside. A file is there whole or not at all, keys with mode 0600 from the first byte.
The directory is its owner's alone, and locked while it is changed.
"""

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from replicator.config import CA_DAYS, CERTIFICATE_DAYS, CLUSTER_DEFAULT
from replicator.errors import StorageError, UsageError
from replicator.faces import signing

DAYS_MAX = 36_500

NAME_CHARACTERS_MAX = 64
"""Longest common name and organization of a certificate (RFC 5280, appendix A.1)."""

_CA = "ca"
_ISSUED = "issued"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate of a node.

    Attributes:
        serial: random, 160 bits at most.
        revoked: when, None where it is not.
    """

    name: str
    serial: int
    begins: datetime
    expires: datetime
    revoked: datetime | None

    def is_live(self, at: datetime) -> bool:
        """Whether nodes accept it."""
        return self.revoked is None and self.expires > at


class Authority:
    """The CA in a directory. Every method takes the directory's lock.

    Its errors:
        UsageError: what is asked for is not possible; the message says what to do.
        StorageError: a file cannot be read or written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def init(
        self, *, cluster: str = CLUSTER_DEFAULT, days: int = CA_DAYS, at: datetime | None = None
    ) -> datetime:
        """Make the directory, a CA, and its empty revocation list.

        Args:
            cluster: stands in the CA's name, for people.
            days: how long the CA, and so all it issues, is valid.
            at: when that begins; now.

        Returns:
            When it expires.
        """
        at = at or _now()
        _check_text("the cluster's name", cluster)
        with _told(self.directory):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_closed(self.directory)
        with self._locked():
            if found := next(self.directory.glob("ca.*"), None):
                raise UsageError(
                    f"{found} is there: this directory has its CA, and nothing is overwritten; "
                    "name another directory"
                )
            certificate, key = signing.authority(cluster, at, at + _span(days))
            (self.directory / _ISSUED).mkdir(mode=0o700, exist_ok=True)
            self._replace_revoked(signing.revocations(certificate, key, [], at))
            self._write(f"{_CA}.key", signing.key_pem(key), 0o600)
            self._write(f"{_CA}.crt", signing.pem(certificate), 0o644)
            return certificate.not_valid_after_utc

    def issue(
        self,
        name: str,
        *,
        days: int = CERTIFICATE_DAYS,
        renew: bool = False,
        at: datetime | None = None,
    ) -> Issued:
        """Issue a certificate with a new key to a node: ``NAME.crt``, ``NAME.key``.

        Args:
            days: how long it is valid, but no longer than the CA.
            renew: whether the node may have one already; its files are moved aside, the earlier
                certificate stays valid.
            at: when its validity begins; now.
        """
        at = at or _now()
        check_name(name)
        with self._locked():
            authority, authority_key = self._open()
            if not renew:
                self._check_new(name, at)
            expires = min(at + _span(days), authority.not_valid_after_utc)
            if authority.not_valid_after_utc <= at:
                raise UsageError(
                    f"the CA in {self.directory} has expired: make a new one in another directory, "
                    "and have the nodes' `ca` file hold both while they change over"
                )
            certificate, key = signing.node(name, at, expires, authority, authority_key)
            serial = certificate.serial_number
            self._write(f"{_ISSUED}/{serial:040x}.crt", signing.pem(certificate), 0o644)
            for suffix in (".key", ".crt"):
                self._move_aside(name, suffix)
            self._write(f"{name}.key", signing.key_pem(key), 0o600)
            self._write(f"{name}.crt", signing.pem(certificate), 0o644)
            return _issued(certificate, {})

    def revoke(self, name: str, *, at: datetime | None = None) -> list[Issued]:
        """Revoke every certificate of a node that is not yet: earlier ones too.

        Returns:
            Those that were revoked now.
        """
        at = at or _now()
        check_name(name)
        with self._locked():
            authority, key = self._open()
            already = self._revoked()
            named = [one for one in self._list(already) if one.name == name]
            if not named:
                raise UsageError(
                    f"no certificate was issued to {name!r} in {self.directory}; `replicator certs "
                    "list` shows all"
                )
            fresh = [one for one in named if one.revoked is None]
            dates = {**already, **{one.serial: at for one in fresh}}
            if fresh:
                self._replace_revoked(signing.revocations(authority, key, list(dates.items()), at))
            return [one for one in self._list(dates) if one.serial in {two.serial for two in fresh}]

    def issued(self) -> list[Issued]:
        """All certificates of nodes, by name and age."""
        with self._locked():
            return self._list(self._revoked())

    def expires(self) -> datetime:
        """When the CA does."""
        with self._locked():
            return self._open()[0].not_valid_after_utc

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _told(self.directory):
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    def _open(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        paths = [self.directory / f"{_CA}.crt", self.directory / f"{_CA}.key"]
        if not all(path.exists() for path in paths):
            raise UsageError(
                f"{self.directory} holds no CA: name its directory with --dir, or make one with "
                "`replicator certs init`"
            )
        _check_closed(self.directory)
        certificate = _read(paths[0])
        try:
            key = load_pem_private_key(paths[1].read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise StorageError(f"{paths[1]} is damaged: restore it from a copy") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or (
            key.public_key() != certificate.public_key()
        ):
            raise StorageError(f"{paths[1]} is not the key of {paths[0]}: restore both")
        return certificate, key

    def _check_new(self, name: str, at: datetime) -> None:
        live = [one for one in self._list(self._revoked()) if one.name == name and one.is_live(at)]
        there = [path for path in self._files(name) if path.exists()]
        if live or there:
            what = str(there[0]) if there else f"a certificate until {live[0].expires:%Y-%m-%d}"
            raise UsageError(
                f"{name!r} has {what} already, and nothing is overwritten: say --renew for a new "
                "one, or take another name"
            )

    def _files(self, name: str) -> tuple[Path, Path]:
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    def _move_aside(self, name: str, suffix: str) -> None:
        path = self.directory / f"{name}{suffix}"
        if not path.exists():
            return
        stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        for number in range(1, 1000):
            aside = self.directory / f"{name}.{stamp:%Y%m%dT%H%M%S}-{number}{suffix}"
            try:
                os.link(path, aside)
            except FileExistsError:
                continue
            path.unlink()
            return
        raise UsageError(f"too many earlier files of {name!r} in {self.directory}: take some away")

    def _revoked(self) -> dict[int, datetime]:
        path = self.directory / "revoked.crl"
        try:
            found = x509.load_pem_x509_crl(path.read_bytes())
        except ValueError as error:
            raise StorageError(f"{path} is damaged: copy it back from a node") from error
        return {one.serial_number: one.revocation_date_utc for one in found}

    def _list(self, revoked: dict[int, datetime]) -> list[Issued]:
        found = (_read(path) for path in (self.directory / _ISSUED).glob("*.crt"))
        issued = [_issued(certificate, revoked) for certificate in found]
        return sorted(issued, key=lambda one: (one.name, one.begins, one.serial))

    def _replace_revoked(self, revoked: x509.CertificateRevocationList) -> None:
        path = self.directory / "revoked.crl"
        with _written(path, revoked.public_bytes(Encoding.PEM), 0o644) as temporary:
            temporary.replace(path)

    def _write(self, name: str, data: bytes, mode: int) -> None:
        path = self.directory / name
        with _written(path, data, mode) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError as error:
                raise UsageError(f"{path} is there, and nothing is overwritten") from error


def check_name(name: str) -> None:
    """Refuse what is no plain file name.

    Raises:
        UsageError: the message says what to write.
    """
    _check_text("the name", name)
    if not _NAME.fullmatch(name) or name == _CA:
        raise UsageError(
            f"{name!r} cannot be the name of a certificate: write letters, digits, '_', '-' and "
            "'.', the first no '-' or '.'; and not 'ca'"
        )


def _check_text(what: str, text: str) -> None:
    if not 0 < len(text) <= NAME_CHARACTERS_MAX or not text.isprintable():
        raise UsageError(
            f"{what}: {text!r}: write 1 to {NAME_CHARACTERS_MAX} characters that print"
        )


def _check_closed(directory: Path) -> None:
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o077:
        raise UsageError(
            f"{directory} is open to other users (mode {mode:04o}): chmod 700 it, or name a new "
            "directory, which is made closed"
        )


def _span(days: int) -> timedelta:
    if not 1 <= days <= DAYS_MAX:
        raise UsageError(f"{days} days: write a number from 1 to {DAYS_MAX}")
    return timedelta(days=days)


def _now() -> datetime:
    return datetime.now(UTC)


def _issued(certificate: x509.Certificate, revoked: dict[int, datetime]) -> Issued:
    return Issued(
        str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        revoked.get(certificate.serial_number),
    )


def _read(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise StorageError(f"{path} is damaged: restore it from a copy") from error


@contextmanager
def _written(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A whole, synced file beside `path`, to be put in its place; gone afterwards."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(directory: Path) -> Iterator[None]:
    """Errors of the file system in our words."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{error.filename or directory} is not there: name the CA's directory, or make one "
            "with `replicator certs init`"
        ) from error
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{error.filename or directory}: {error.strerror}") from error
