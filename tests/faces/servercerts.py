"""Certificates of a server, as files."""

from pathlib import Path

import trustme

from replicator.faces.listening import TlsServerFiles


class Site:
    """Certificates of one CA as files."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.directory = directory
        self.ca.cert_pem.write_to_path(directory / "ca.crt")

    def issue(self, name: str, client_ca: bool = False) -> TlsServerFiles:
        made = self.ca.issue_cert(name)
        certificate, key = self.directory / "it.crt", self.directory / "it.key"
        made.cert_chain_pems[0].write_to_path(certificate)
        made.private_key_pem.write_to_path(key)
        key.chmod(0o600)
        return TlsServerFiles(certificate, key, self.directory / "ca.crt" if client_ca else None)
