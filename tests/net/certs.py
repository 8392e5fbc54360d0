"""Certificates for tests: a cluster's CA in a directory, and the credentials of its nodes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from replicator.faces.certificates import Authority
from replicator.net.tls import Tls, TlsFiles

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=100)


def made(directory: Path) -> Authority:
    """A CA that is valid since long ago."""
    authority = Authority(directory)
    authority.init(at=LONG_AGO)
    return authority


def files_of(authority: Authority, name: str, **issue: object) -> TlsFiles:
    """The files of a node, issued where they are not there."""
    where = authority.directory
    if issue or not (where / f"{name}.crt").exists():
        authority.issue(name, **issue)  # type: ignore[arg-type]
    return TlsFiles(
        where / "ca.crt", where / f"{name}.crt", where / f"{name}.key", where / "revoked.crl"
    )


def tls_of(authority: Authority, name: str) -> Tls:
    return Tls(files_of(authority, name))
