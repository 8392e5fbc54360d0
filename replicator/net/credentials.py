"""A node's credentials: read from their files, with everything wrong with them told by file.

Only here the package `cryptography` is needed, and only where TLS is configured.

Every certificate of a cluster, this node's and its peers', is issued by a CA in the CA file
itself: there are no intermediate ones, so the revocation list of the CA covers them all. It has
the role of a node, extended key usage for server and client both: one of the same CA that was made
for something else opens no conversation.
"""

import re
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from replicator.errors import ConfigError, PeerError
from replicator.net.tls import PeerCertificate, TlsFiles

FILE_BYTES_MAX = 16 << 20
"""Largest file that is read: a revocation list of some 400,000 certificates."""

EXPIRY_WARNING_DAYS = 7

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the package raises for bytes that are none of a certificate, list or key."""

_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)

_ROLE = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the files held when they were read.

    Attributes:
        server, client: for the two ends of a connection.
        own: this node's certificate.
        authorities: whom the other end's is verified against.
        revoked: serials.
        revoked_until: when the first of the revocation lists wants to be replaced.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    own: x509.Certificate
    authorities: tuple[x509.Certificate, ...]
    revoked: frozenset[int]
    revoked_until: datetime | None

    def judge(self, der: bytes | None) -> PeerCertificate:
        """Judge the certificate of a peer that has shown in the handshake that it is its own.

        Raises:
            PeerError: it is revoked or not one of a node.
        """
        if der is None:
            raise PeerError("the peer shows no certificate")
        try:
            certificate = x509.load_der_x509_certificate(der)
            name = name_of(certificate)
            fault = _fault(certificate, self.authorities)
        except _UNREADABLE as error:
            raise PeerError(f"the certificate cannot be read ({error})") from error
        if fault is not None:
            raise PeerError(f"the certificate {name!r} {fault}")
        if certificate.serial_number in self.revoked:
            raise PeerError(f"the certificate {name!r} is revoked")
        return PeerCertificate(name, certificate.serial_number)

    def warnings(self, now: datetime) -> Iterator[str]:
        """What a person should see to, each a text that stays the same until it changes."""
        renew = "issue a new one (`replicator certs issue NAME --renew`) and replace its files"
        expiry = self.own.not_valid_after_utc
        who = f"this node's certificate {name_of(self.own)!r}"
        if expiry <= now:
            yield f"{who} has expired on {expiry:%Y-%m-%d %H:%M} UTC, peers refuse it: {renew}"
        elif expiry <= now + timedelta(days=EXPIRY_WARNING_DAYS):
            yield f"{who} expires on {expiry:%Y-%m-%d %H:%M} UTC: {renew}"
        if self.own.serial_number in self.revoked:
            yield f"{who} is revoked, peers refuse it: {renew}"
        if self.revoked_until is not None and self.revoked_until <= now:
            yield (
                f"the revocation list should have been replaced by {self.revoked_until:%Y-%m-%d}; "
                "it stays in force: have the CA write a new one"
            )


def now() -> datetime:
    """The wall clock, which validity is measured against."""
    return datetime.now(UTC)


def read(files: TlsFiles, current: Credentials | None = None) -> Credentials:
    """Read and check the files.

    Args:
        current: credentials in force. The same certificate is taken again even if it has expired
            meanwhile, so that a new revocation list takes effect.

    Raises:
        ConfigError: a file is missing, garbage, or does not fit the others; the message names it
            and says what to do.
    """
    before = files.stamp()
    authorities = _authorities(files.ca)
    own = _own(files, authorities)
    if current is None or own.serial_number != current.own.serial_number:
        _check_dates(files.certificate, own)
    _check_key(files, own)
    revoked, until = revocations(files, authorities)
    contexts = [
        _context(files, purpose) for purpose in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    ]
    if files.stamp() != before:
        raise ConfigError(f"{files.certificate} or a file beside it is being replaced: try again")
    return Credentials(contexts[0], contexts[1], own, authorities, revoked, until)


def revocations(
    files: TlsFiles, authorities: tuple[x509.Certificate, ...]
) -> tuple[frozenset[int], datetime | None]:
    """The serials that are revoked, and when the first list wants to be replaced.

    Raises:
        ConfigError: the file is missing or garbage, or a list is not signed by the CA.
    """
    path = files.revoked
    if path is None:
        return frozenset(), None
    serials: set[int] = set()
    until: list[datetime] = []
    blocks = _CRL.findall(_contents(path))
    try:
        for block in blocks:
            revoked = x509.load_pem_x509_crl(block)
            if not any(_has_signed(authority, revoked) for authority in authorities):
                raise ConfigError(f"{path} is not signed by the CA in {files.ca}: take its own")
            serials.update(one.serial_number for one in revoked)
            if revoked.next_update_utc is not None:
                until.append(revoked.next_update_utc)
    except _UNREADABLE as error:
        raise ConfigError(f"{path} is damaged: copy it from the CA again ({error})") from error
    if not blocks:
        raise ConfigError(f"{path} holds no revocation list in PEM: take the CA's revoked.crl")
    return frozenset(serials), min(until, default=None)


def name_of(certificate: x509.Certificate) -> str:
    """The common name of a certificate."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else "(nameless)"


def _contents(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): name the right file; `replicator certs "
            "init` and `certs issue` make them"
        ) from error
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {FILE_BYTES_MAX >> 20} MiB: name the right file")
    return data


def _certificates(path: Path) -> list[x509.Certificate]:
    data = _contents(path)
    try:
        return x509.load_pem_x509_certificates(data)
    except _UNREADABLE as error:
        raise ConfigError(
            f"{path} holds no certificate in PEM, or a damaged one: copy it again ({error})"
        ) from error


def _authorities(path: Path) -> tuple[x509.Certificate, ...]:
    found = _certificates(path)
    if not all(_is_authority(certificate) for certificate in found):
        raise ConfigError(
            f"{path} holds a certificate that is none of a CA: name the CA's own, ca.crt"
        )
    if all(certificate.not_valid_after_utc <= now() for certificate in found):
        raise ConfigError(f"{path}: the CA has expired: make a new one, and issue new certificates")
    return tuple(found)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return False


def _own(files: TlsFiles, authorities: tuple[x509.Certificate, ...]) -> x509.Certificate:
    own = _certificates(files.certificate)[0]
    try:
        fault = _fault(own, authorities)
    except _UNREADABLE as error:
        raise ConfigError(f"{files.certificate} is damaged: copy it again ({error})") from error
    if fault is not None:
        raise ConfigError(
            f"{files.certificate} {fault}: have one issued by the CA in {files.ca} "
            "(`replicator certs issue NAME`)"
        )
    return own


def _fault(certificate: x509.Certificate, authorities: tuple[x509.Certificate, ...]) -> str | None:
    """Why a certificate is none of a node of this cluster; None where it is one."""
    if not any(_has_issued(authority, certificate) for authority in authorities):
        return "is not of this cluster's CA"
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    if not set(usage) >= _ROLE or _is_authority(certificate):
        return "was not made for a node (extended key usage for server and client both)"
    return None


def _has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (*_UNREADABLE, InvalidSignature):
        return False
    return True


def _has_signed(authority: x509.Certificate, revoked: x509.CertificateRevocationList) -> bool:
    try:
        return revoked.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except TypeError:  # a key of a kind that signs nothing
        return False


def _check_dates(path: Path, own: x509.Certificate) -> None:
    if own.not_valid_after_utc <= now():
        raise ConfigError(
            f"{path} has expired on {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: have a new one "
            "issued (`replicator certs issue NAME --renew`)"
        )
    if own.not_valid_before_utc > now():
        raise ConfigError(
            f"{path} is not valid before {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: does this "
            "machine's clock go right?"
        )


def _check_key(files: TlsFiles, own: x509.Certificate) -> None:
    data = _contents(files.key)
    mode = _mode(files.key)
    if mode & 0o027:
        raise ConfigError(
            f"{files.key} is open to other users (mode {mode:04o}): chmod 600 it (a Kubernetes "
            "secret: defaultMode 0400, or 0440); if others have seen it, have a new one issued"
        )
    try:
        key = load_pem_private_key(data, None)
    except _UNREADABLE as error:
        raise ConfigError(
            f"{files.key} holds no private key in PEM, or one with a password, which a node cannot "
            f"give: name the right file ({error})"
        ) from error
    if key.public_key() != own.public_key():
        raise ConfigError(
            f"{files.key} is not the key of {files.certificate}: name the two that were made "
            "together, and replace both"
        )


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(f"{path} is being replaced: try again") from error


def _context(files: TlsFiles, protocol: int) -> ssl.SSLContext:
    """TLS 1.3 with a certificate at both ends. Names are not compared: peers are known by their
    cluster's CA, and their addresses change. No session is resumed, so every connection is judged.
    """
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    try:
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise ConfigError(
            f"{files.certificate} with {files.key} and {files.ca} cannot be used: {error}"
        ) from error
    return context
