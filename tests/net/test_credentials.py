"""A node's TLS files: what is wrong with them is told by file, and renewal needs no restart."""

import base64
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from replicator.errors import ConfigError, MissingExtraError
from replicator.faces.certificates import Authority
from replicator.net import credentials
from replicator.net.tls import Tls, TlsFiles
from tests.net.certs import LONG_AGO, NOW, files_of, made

SECONDS_MAX = 20.0
INTERVAL = 0.01


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return made(tmp_path / "ca")


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> TlsFiles:
    """Copies of a node's files, as on the node."""
    node = tmp_path / "node"
    node.mkdir()
    there = files_of(authority, "a")
    here = TlsFiles(node / "ca.crt", node / "a.crt", node / "a.key", node / "revoked.crl")
    install(there, here)
    return here


def install(there: TlsFiles, here: TlsFiles) -> None:
    for name in ("ca", "certificate", "key", "revoked"):
        put(getattr(here, name), getattr(there, name).read_bytes())


def put(path: Path, data: bytes) -> None:
    """Replace a file as tools do: written beside it, then renamed."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_bytes(data)
    new.replace(path)


def serial_of(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


# What a setting names


def test_a_mapping_names_the_files() -> None:
    names = {"ca": "/c/ca.crt", "certificate": "a.crt", "key": "a.key"}
    assert TlsFiles.from_mapping(names) == TlsFiles(Path("/c/ca.crt"), Path("a.crt"), Path("a.key"))
    assert TlsFiles.from_mapping({**names, "revoked": "r"}).revoked == Path("r")


@pytest.mark.parametrize(
    ("mapping", "advice"),
    [
        ({}, "tls lacks ca, certificate, key: name the files"),
        ({"ca": "c", "certificate": "a"}, "tls lacks key: .*replicator certs init"),
        ({"ca": "c", "cert": "a", "key": "k"}, "tls has no 'cert': it takes ca, certificate, key"),
        ({"ca": "c", "certificate": 1, "key": "k"}, "certificate=1: write the path of a file"),
        ({"ca": "", "certificate": "a", "key": "k"}, "ca='': write the path of a file"),
    ],
)
def test_a_mapping_that_does_not(mapping: dict[str, str], advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        TlsFiles.from_mapping(mapping)


# What is wrong with files


@pytest.mark.parametrize("name", ["ca", "certificate", "key", "revoked"])
def test_a_missing_file_is_named(files: TlsFiles, name: str) -> None:
    path = getattr(files, name)
    path.unlink()
    with pytest.raises(ConfigError, match=rf"^{path} cannot be read \(No such file"):
        Tls(files)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("ca", "holds no certificate in PEM, or a damaged one"),
        ("certificate", "holds no certificate in PEM, or a damaged one"),
        ("key", "holds no private key in PEM"),
        ("revoked", "holds no revocation list in PEM"),
    ],
)
def test_garbage_is_named(files: TlsFiles, name: str, fault: str) -> None:
    path = getattr(files, name)
    whole = path.read_bytes()
    for data in (b"", b"\xff\0garbage", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=f"{path} {fault}"):
            Tls(files)


def test_a_damaged_list_is_named(files: TlsFiles) -> None:
    assert files.revoked is not None
    lines = files.revoked.read_bytes().splitlines()
    files.revoked.write_bytes(b"\n".join([lines[0], *lines[2:]]))
    with pytest.raises(ConfigError, match=f"{files.revoked} is damaged: copy it"):
        Tls(files)


@pytest.mark.parametrize("name", ["ca", "certificate", "key", "revoked"])
def test_any_damage_is_an_error_or_none(files: TlsFiles, name: str) -> None:
    """Bytes changed within the encoding; where that is not noticed, nothing depends on them."""
    path = getattr(files, name)
    whole = path.read_bytes()
    head, body, foot = re.fullmatch(
        rb"(-----[^-]+-----\n)(.*)(-----[^-]+-----\n)", whole, re.S
    ).groups()  # type: ignore[union-attr]
    der = base64.b64decode(body)
    random = Random(name)
    for _ in range(150):
        changed = bytearray(der)
        for _ in range(random.choice((1, 1, 1, 4))):
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
        path.write_bytes(head + base64.encodebytes(changed) + foot)
        with suppress(ConfigError):
            Tls(files)


def test_a_file_without_end(files: TlsFiles) -> None:
    with pytest.raises(ConfigError, match="/dev/zero is larger than 16 MiB"):
        Tls(replace(files, ca=Path("/dev/zero")))


def test_a_list_of_another_ca(files: TlsFiles, tmp_path: Path) -> None:
    other = made(tmp_path / "other").directory
    with pytest.raises(ConfigError, match=f"revoked.crl is not signed by the CA in {files.ca}"):
        Tls(replace(files, revoked=other / "revoked.crl"))


def test_a_certificate_of_another_ca(files: TlsFiles, tmp_path: Path) -> None:
    other = files_of(made(tmp_path / "other"), "a")
    with pytest.raises(ConfigError, match=r"a\.crt is not of this cluster's CA: have one issued"):
        Tls(replace(files, certificate=other.certificate, key=other.key))


def test_a_key_of_another_certificate(files: TlsFiles, authority: Authority) -> None:
    with pytest.raises(ConfigError, match=r"b\.key is not the key of .*a\.crt"):
        Tls(replace(files, key=files_of(authority, "b").key))


def test_a_ca_that_is_none(files: TlsFiles) -> None:
    with pytest.raises(ConfigError, match="holds a certificate that is none of a CA"):
        Tls(replace(files, ca=files.certificate))


def test_a_certificate_that_is_the_ca_itself(files: TlsFiles, authority: Authority) -> None:
    ca = authority.directory
    with pytest.raises(ConfigError, match=r"ca\.crt was not made for a node"):
        Tls(replace(files, certificate=ca / "ca.crt", key=ca / "ca.key"))


def test_a_key_with_a_password(files: TlsFiles) -> None:
    key = load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    with pytest.raises(ConfigError, match="or one with a password"):
        Tls(files)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602])
def test_a_key_that_others_can_read(files: TlsFiles, mode: int) -> None:
    files.key.chmod(mode)
    with pytest.raises(ConfigError, match=rf"open to other users \(mode {mode:04o}\): chmod 600"):
        Tls(files)
    for closed in (0o400, 0o440, 0o640):
        files.key.chmod(closed)
        Tls(files)


def test_a_certificate_outside_its_time(files: TlsFiles, authority: Authority) -> None:
    install(files_of(authority, "old", at=LONG_AGO, days=10), files)
    with pytest.raises(ConfigError, match=r"has expired on .* UTC: have a new one issued"):
        Tls(files)
    install(files_of(authority, "early", at=NOW + timedelta(days=2)), files)
    with pytest.raises(ConfigError, match=r"is not valid before .*: does this machine's clock"):
        Tls(files)


def test_a_ca_that_has_expired(files: TlsFiles, tmp_path: Path) -> None:
    old = Authority(tmp_path / "old")
    old.init(at=LONG_AGO, days=10)
    install(files_of(old, "a", at=LONG_AGO), files)
    with pytest.raises(ConfigError, match=r"ca\.crt: the CA has expired: make a new one"):
        Tls(files)


def test_without_cryptography(files: TlsFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "replicator.net.credentials")
    monkeypatch.delattr("replicator.net.credentials")
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'level-replicator\[tls\]'"):
        Tls(files)


def test_certificates_of_other_tools(tmp_path: Path) -> None:
    """RSA keys, a chain behind the certificate, no revocation list."""
    other = trustme.CA(key_type=trustme.KeyType.RSA)
    leaf = other.issue_cert("a.example", common_name="a", key_type=trustme.KeyType.RSA)
    files = TlsFiles(tmp_path / "ca", tmp_path / "crt", tmp_path / "key")
    other.cert_pem.write_to_path(files.ca)
    files.certificate.write_bytes(leaf.cert_chain_pems[0].bytes() + other.cert_pem.bytes())
    put(files.key, leaf.private_key_pem.bytes())
    tls = Tls(files)
    assert not tls.is_revoked(1)


# Renewal


class Watch:
    """What `keep_fresh` tells, and waiting for it."""

    def __init__(self, tls: Tls) -> None:
        self.tls = tls
        self.changes = 0
        self.troubles: list[str] = []

    def changed(self) -> None:
        self.changes += 1

    async def run(self) -> None:
        await self.tls.keep_fresh(self.changed, self.troubles.append, INTERVAL)

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(SECONDS_MAX):
            while not condition():
                await trio.sleep(INTERVAL)

    async def looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wait until the files were looked at twice more."""
        count = 0
        look = Tls._look

        def counting(tls: Tls) -> object:
            nonlocal count
            count += 1
            return look(tls)

        with monkeypatch.context() as patch:
            patch.setattr(Tls, "_look", counting)
            await self.until(lambda: count >= 3)


@pytest.fixture
def watch(files: TlsFiles, nursery: trio.Nursery) -> Watch:
    watch = Watch(Tls(files))
    nursery.start_soon(watch.run)
    return watch


async def test_a_renewal_is_picked_up(watch: Watch, files: TlsFiles, authority: Authority) -> None:
    before = watch.tls.server
    renewed = files_of(authority, "a", renew=True)
    install(renewed, files)
    serial = serial_of(renewed.certificate)
    await watch.until(lambda: watch.tls._current.own.serial_number == serial)
    assert watch.tls.server is not before
    await watch.until(lambda: watch.changes > 0)


async def test_nothing_is_told_where_nothing_changes(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watch.looks(monkeypatch)
    assert (watch.changes, watch.troubles) == (0, [])


async def test_a_revocation_is_picked_up(
    watch: Watch, files: TlsFiles, authority: Authority
) -> None:
    assert files.revoked is not None
    other = authority.issue("b")
    assert not watch.tls.is_revoked(other.serial)
    authority.revoke("b")
    put(files.revoked, (authority.directory / "revoked.crl").read_bytes())
    await watch.until(lambda: watch.changes == 1)
    assert watch.tls.is_revoked(other.serial)
    assert watch.troubles == []


async def test_a_half_written_renewal_keeps_the_old_and_takes_the_whole(
    watch: Watch, files: TlsFiles, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = watch.tls.client
    renewed = files_of(authority, "a", renew=True)
    put(files.certificate, renewed.certificate.read_bytes())
    await watch.until(lambda: len(watch.troubles) == 1)
    assert "new TLS files are not used, the old ones stay in force" in watch.troubles[0]
    assert f"{files.key} is not the key of {files.certificate}" in watch.troubles[0]
    await watch.looks(monkeypatch)
    assert len(watch.troubles) == 1
    assert watch.tls.client is before
    assert watch.changes == 0
    put(files.key, renewed.key.read_bytes())
    await watch.until(lambda: watch.changes == 1)
    assert watch.tls.client is not before


@pytest.mark.parametrize("broken", ["certificate", "key", "ca"])
async def test_a_revocation_takes_effect_beside_a_broken_file(
    watch: Watch, files: TlsFiles, authority: Authority, broken: str
) -> None:
    assert files.revoked is not None
    other = authority.issue("b")
    getattr(files, broken).unlink()
    await watch.until(lambda: len(watch.troubles) == 1)
    authority.revoke("b")
    put(files.revoked, (authority.directory / "revoked.crl").read_bytes())
    await watch.until(lambda: watch.changes == 1)
    assert watch.tls.is_revoked(other.serial)


@pytest.mark.parametrize("data", [None, b"garbage"])
async def test_a_list_that_is_gone_or_damaged_stays_in_force(
    files: TlsFiles, authority: Authority, nursery: trio.Nursery, data: bytes | None
) -> None:
    assert files.revoked is not None
    other = authority.issue("b")
    authority.revoke("b")
    put(files.revoked, (authority.directory / "revoked.crl").read_bytes())
    watch = Watch(Tls(files))
    nursery.start_soon(watch.run)
    if data is None:
        files.revoked.unlink()
    else:
        put(files.revoked, data)
    await watch.until(lambda: len(watch.troubles) == 1)
    assert watch.tls.is_revoked(other.serial)
    assert watch.changes == 0


async def test_a_directory_swapped_by_a_symbolic_link(
    files: TlsFiles, authority: Authority, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """As Kubernetes does with the files of a secret."""
    link = tmp_path / "now"
    link.symlink_to(files.ca.parent)
    through = TlsFiles(link / "ca.crt", link / "a.crt", link / "a.key", link / "revoked.crl")
    watch = Watch(Tls(through))
    nursery.start_soon(watch.run)
    new = tmp_path / "second"
    new.mkdir()
    install(
        files_of(authority, "a", renew=True),
        TlsFiles(new / "ca.crt", new / "a.crt", new / "a.key", new / "revoked.crl"),
    )
    other = tmp_path / "other"
    other.symlink_to(new)
    other.replace(link)
    await watch.until(lambda: watch.changes == 1)
    assert watch.tls._current.own.serial_number == serial_of(new / "a.crt")


async def test_an_expiry_is_told_before_and_when_it_has_come(
    files: TlsFiles, authority: Authority, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    install(files_of(authority, "a", renew=True, days=8), files)
    watch = Watch(Tls(files))
    nursery.start_soon(watch.run)
    await watch.looks(monkeypatch)
    assert watch.troubles == []
    monkeypatch.setattr(credentials, "now", lambda: NOW + timedelta(days=2))
    await watch.until(lambda: len(watch.troubles) == 1)
    assert "this node's certificate 'a' expires on" in watch.troubles[0]
    monkeypatch.setattr(credentials, "now", lambda: NOW + timedelta(days=10))
    await watch.until(lambda: len(watch.troubles) == 2)
    assert "has expired on" in watch.troubles[1]
    assert "certs issue NAME --renew" in watch.troubles[1]
    # A node that has expired still takes the revocation of others.
    assert files.revoked is not None
    other = authority.issue("b")
    authority.revoke("b")
    put(files.revoked, (authority.directory / "revoked.crl").read_bytes())
    await watch.until(lambda: watch.changes == 1)
    assert watch.tls.is_revoked(other.serial)
    assert len(watch.troubles) == 2


async def test_a_node_that_is_revoked_itself_is_told(
    watch: Watch, files: TlsFiles, authority: Authority
) -> None:
    authority.revoke("a")
    install(files_of(authority, "a"), files)
    await watch.until(lambda: len(watch.troubles) == 1)
    assert "this node's certificate 'a' is revoked, peers refuse it" in watch.troubles[0]


def test_an_old_list_is_a_warning_only(files: TlsFiles) -> None:
    current = Tls(files)._current
    assert current.revoked_until is not None
    (told,) = (
        text
        for text in current.warnings(current.revoked_until)
        if text.startswith("the revocation list")
    )
    assert "it stays in force" in told
