"""What the CA of a cluster signs: its own certificate, those of nodes, its revocation list.

Keys are on the curve P-256, which every TLS library knows. Extensions as RFC 5280 wants them, so
that strict verification, the default of later Pythons, accepts them.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCK_SLACK = timedelta(hours=1)
"""How far a certificate's validity begins in the past, for clocks that are slow."""

Made = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def authority(cluster: str, begins: datetime, expires: datetime) -> Made:
    """A CA, signed by itself, which issues to nodes and to no other CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster),
            x509.NameAttribute(NameOID.COMMON_NAME, "replicator CA"),
        ]
    )
    builder = (
        _builder(name, key.public_key(), begins, expires)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return builder.sign(key, hashes.SHA256()), key


def node(
    name: str,
    begins: datetime,
    expires: datetime,
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> Made:
    """A certificate of a node, for both ends of a connection, with a new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    role = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(subject, key.public_key(), begins, expires)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(role), critical=False)
        .add_extension(_authority_id(issuer), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256()), key


def revocations(
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    revoked: Iterable[tuple[int, datetime]],
    at: datetime,
) -> x509.CertificateRevocationList:
    """A list that holds until the CA expires: it is replaced when there is something new.

    Args:
        revoked: serial numbers, and since when.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(at)
        .next_update(max(issuer.not_valid_after_utc, at + timedelta(days=1)))
        .add_extension(_authority_id(issuer), critical=False)
        .add_extension(x509.CRLNumber(int(at.timestamp() * 1_000_000)), critical=False)
    )
    for serial, since in revoked:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
        builder = builder.add_revoked_certificate(one)
    return builder.sign(key, hashes.SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    """The certificate as it lies in its file."""
    return certificate.public_bytes(Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as it lies in its file, without a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, begins: datetime, expires: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - CLOCK_SLACK)
        .not_valid_after(expires)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    its_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(its_id)
