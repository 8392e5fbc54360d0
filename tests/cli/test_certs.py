"""``certs``: a CA in a directory; nothing overwritten, keys closed from the first byte."""

import json
import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography import x509

from replicator.errors import StorageError, UsageError
from replicator.faces import certificates
from replicator.faces.certificates import NAME_CHARACTERS_MAX, Authority, check_name
from replicator.faces.configuration import Given
from replicator.net.tls import Tls, TlsFiles
from tests.cli.daemons import REPLICATOR, replicator

NOW = datetime.now(UTC)


def documents(result: Result) -> list[Any]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(directory: Path) -> dict[str, bytes]:
    """All files, also those further down."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    directory = tmp_path / "ca"
    assert replicator("certs", "init", str(directory)).exit_code == 0
    return directory


@pytest.fixture
def where(ca: Path) -> list[str]:
    return ["--dir", str(ca)]


def certs(*arguments: str) -> Result:
    return replicator("certs", *arguments)


# The command line


def test_from_nothing_to_a_configuration_that_loads(tmp_path: Path) -> None:
    ca = tmp_path / "the ca"
    made = certs("init", str(ca), "--cluster", "orders", "--days", "30")
    assert "CA of cluster orders made in" in made.stdout
    issued = certs("issue", "a", "--dir", str(ca))
    text = issued.stdout.split("\n\n")[1]
    found, config = Given(Path("/base/node.toml")).examine(text)
    assert config is not None, found
    assert config.settings.tls is not None
    Tls(TlsFiles.from_mapping(config.settings.tls))


def test_documents(ca: Path, where: list[str], tmp_path: Path) -> None:
    (made,) = documents(certs("init", str(tmp_path / "other"), "--cluster", "orders", "--json"))
    assert made["cluster"] == "orders"
    (issued,) = documents(certs("issue", "a", *where, "--json"))
    assert issued["name"] == "a"
    assert issued["revoked"] is None
    assert issued["files"]["key"] == str(ca / "a.key")
    assert (
        Tls(TlsFiles.from_mapping(issued["files"])).is_revoked(int(issued["serial"], 16)) is False
    )
    (listed,) = documents(certs("list", *where, "--json"))
    assert listed == {key: issued[key] for key in ("name", "serial", "expires", "revoked")}
    (revoked,) = documents(certs("revoke", "a", *where, "--json"))
    assert revoked["revoked"] is not None
    assert documents(certs("list", *where, "--json")) == [revoked]
    assert Tls(TlsFiles.from_mapping(issued["files"])).is_revoked(int(issued["serial"], 16)) is True


def test_the_list_tells_what_is_valid(ca: Path, where: list[str]) -> None:
    authority = Authority(ca)
    for name in ("a", "b"):
        certs("issue", name, *where)
    authority.issue("old", at=NOW - timedelta(days=9), days=3)
    certs("revoke", "b", *where)
    lines = certs("list", *where).stdout.splitlines()
    assert [(line.split()[0], line.split()[2]) for line in lines] == [
        ("a", "valid"),
        ("b", "revoked"),
        ("old", "expired"),
    ]


def test_revoking_twice_is_no_harm(ca: Path, where: list[str]) -> None:
    certs("issue", "a", *where)
    assert "1 certificate of a revoked" in certs("revoke", "a", *where).stdout
    before = contents(ca)
    again = certs("revoke", "a", *where)
    assert (again.exit_code, again.stdout) == (0, "all certificates of a were revoked already\n")
    assert contents(ca) == before


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["issue", "a", "--dir", "nowhere"], "nowhere is not there: name the CA's directory"),
        (["list", "--dir", "nowhere"], "nowhere is not there"),
        (["issue", "a", "--dir", "empty"], "empty holds no CA: name its directory with --dir"),
        (["issue", "../a", "--dir", "ca"], "'../a' cannot be the name of a certificate"),
        (["issue", "a", "--days", "0", "--dir", "ca"], "0 days: write a number from 1 to"),
        (["issue", "a", "--days", "9" * 30, "--dir", "ca"], "days: write a number from 1 to"),
        (["revoke", "a", "--dir", "ca"], "no certificate was issued to 'a' in ca"),
        (["init", "ca"], "ca.* is there: this directory has its CA, and nothing is overwritten"),
        (["init", "open"], "open is open to other users (mode 0755): chmod 700 it"),
        (["init", "file"], "file"),
        (["init", "new", "--cluster", "x" * 65], "the cluster's name: 'xxx"),
        (["init", "new", "--cluster", ""], "the cluster's name: ''"),
    ],
)
def test_what_cannot_be_done_is_told(
    ca: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], advice: str
) -> None:
    monkeypatch.chdir(ca.parent)
    Path("empty").mkdir(mode=0o700)
    Path("open").mkdir()
    Path("open").chmod(0o755)
    Path("file").touch()
    before = contents(ca.parent)
    result = certs(*arguments)
    assert result.exit_code in (2, 3)
    head, _, tail = advice.partition(".*")
    assert head in result.stderr and tail in result.stderr
    assert contents(ca.parent) == before


def test_without_cryptography(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None; sys.argv[1:] = ['certs', 'init'];"
        "from replicator.faces.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "pip install 'level-replicator[tls]'" in done.stderr


@pytest.mark.processes
def test_a_wide_umask_opens_nothing(tmp_path: Path) -> None:
    """And no file is open for a moment: whatever is made is made by `_written`."""
    old = os.umask(0)
    try:
        for arguments in (["init"], ["issue", "a"]):
            subprocess.run([REPLICATOR, "certs", *arguments], cwd=tmp_path, check=True)
    finally:
        os.umask(old)
    assert mode(tmp_path / "certs") == 0o700
    assert mode(tmp_path / "certs" / "ca.key") == mode(tmp_path / "certs" / "a.key") == 0o600
    assert mode(tmp_path / "certs" / "a.crt") == 0o644


# The directory


def test_a_key_is_closed_from_its_first_byte(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment at which bytes are synced, before the file has its name."""
    modes: dict[str, int] = {}
    sync = os.fsync

    def looking(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            name = Path(f"/proc/self/fd/{descriptor}").readlink().name
            modes[name.rpartition(".")[0].lstrip(".")] = stat.S_IMODE(os.fstat(descriptor).st_mode)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", looking)
    Authority(ca).issue("a")
    assert modes["a.key"] == 0o600
    assert "a.crt" in modes


def test_nothing_is_left_beside(ca: Path) -> None:
    authority = Authority(ca)
    issued = authority.issue("a")
    authority.revoke("a")
    names = {
        "ca.crt",
        "ca.key",
        "revoked.crl",
        "a.crt",
        "a.key",
        f"issued/{issued.serial:040x}.crt",
    }
    assert set(contents(ca)) == names


def test_issuing_again_needs_renew_and_overwrites_nothing(ca: Path) -> None:
    authority = Authority(ca)
    first = authority.issue("a")
    before = contents(ca)
    with pytest.raises(UsageError, match=r"'a' has .*a\.crt already.*--renew"):
        authority.issue("a")
    (ca / "a.crt").unlink()
    (ca / "a.key").rename(ca / "moved.key")
    with pytest.raises(UsageError, match=r"'a' has a certificate until .*--renew"):
        authority.issue("a")
    (ca / "a.crt").write_bytes(before["a.crt"])
    (ca / "moved.key").rename(ca / "a.key")
    assert contents(ca) == before
    second = authority.issue("a", renew=True)
    third = authority.issue("a", renew=True)
    assert len({first.serial, second.serial, third.serial}) == 3
    after = contents(ca)
    assert set(before.values()) <= set(after.values())
    assert sum(name.startswith("a.") and name.endswith(".key") for name in after) == 3
    assert {mode(path) for path in ca.glob("*.key")} == {0o600}


def test_revoking_covers_renewals_and_files_that_are_gone(ca: Path) -> None:
    authority = Authority(ca)
    serials = [authority.issue("a").serial, authority.issue("a", renew=True).serial]
    for path in ca.glob("a.*"):
        path.unlink()
    other = authority.issue("b")
    assert {one.serial for one in authority.revoke("a")} == set(serials)
    later = authority.issue("a")
    assert later.revoked is None
    found = {one.serial: one.revoked for one in authority.issued()}
    assert all(found[serial] is not None for serial in serials)
    assert found[other.serial] is None
    assert [one.serial for one in authority.revoke("a")] == [later.serial]
    dates = {one.serial: one.revoked for one in authority.issued()}
    assert [dates[serial] for serial in serials] == [found[serial] for serial in serials]


def test_a_certificate_does_not_outlive_the_ca(ca: Path) -> None:
    authority = Authority(ca)
    issued = authority.issue("a", days=certificates.DAYS_MAX)
    authority_certificate = x509.load_pem_x509_certificate((ca / "ca.crt").read_bytes())
    assert issued.expires == authority_certificate.not_valid_after_utc
    with pytest.raises(UsageError, match="has expired: make a new one in another directory"):
        authority.issue("late", at=issued.expires + timedelta(days=1))


def test_two_at_once_lose_nothing(ca: Path) -> None:
    names = [f"n{number}" for number in range(8)]

    def work(name: str) -> None:
        Authority(ca).issue(name)
        Authority(ca).revoke(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(one.name, one.revoked is not None) for one in Authority(ca).issued()] == [
        (name, True) for name in names
    ]


def test_a_failed_write_leaves_the_list_whole(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(ca)
    authority.issue("a")
    before = contents(ca)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left on device"):
            authority.revoke("a")
        with pytest.raises(StorageError, match="No space left on device"):
            authority.issue("b")
    assert contents(ca) == before


@pytest.mark.parametrize(
    ("name", "advice"),
    [("ca.key", "is damaged: restore it"), ("ca.crt", "is damaged"), ("revoked.crl", "is damaged")],
)
def test_a_damaged_file_is_named(ca: Path, name: str, advice: str) -> None:
    (ca / name).write_bytes(b"garbage")
    with pytest.raises(StorageError, match=rf"{name} {advice}"):
        Authority(ca).issue("a")


def test_a_key_of_another_ca_is_noticed(ca: Path, tmp_path: Path) -> None:
    Authority(tmp_path / "other").init()
    (ca / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(StorageError, match=r"ca\.key is not the key of .*ca\.crt"):
        Authority(ca).issue("a")


def test_a_directory_that_was_opened_to_others_is_refused(ca: Path) -> None:
    ca.chmod(0o750)
    with pytest.raises(UsageError, match=r"open to other users \(mode 0750\): chmod 700"):
        Authority(ca).issue("a")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".a",
        "-a",
        "a/b",
        "/a",
        "a\0",
        "a b",
        "ü",
        "ca",
        "a\n",
        "x" * 65,
        "~a",
        "a\\b",
    ],
)
def test_names_that_are_no_plain_file_names(ca: Path, name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)
    with pytest.raises(UsageError):
        Authority(ca).issue(name)


@pytest.mark.parametrize("name", ["a", "node-1.example.org", "_x", "A9", "x" * NAME_CHARACTERS_MAX])
def test_names(name: str) -> None:
    check_name(name)
