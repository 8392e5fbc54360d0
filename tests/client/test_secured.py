"""The client on a daemon that is reached by TCP, with TLS and passwords."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

import replicator
from replicator import AccessError, UnreachableError
from replicator.faces.client.endpoints import PASSWORD, USER
from tests.cli.daemons import Daemon, serving

pytestmark = pytest.mark.processes

PASSWORDS = {"readonly": "look", "application": "use", "admin": "s3cret"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, and a daemon's certificate and key."""
    directory = tmp_path_factory.mktemp("files")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(directory / "ca.crt")
    issued.cert_chain_pems[0].write_to_path(directory / "daemon.crt")
    issued.private_key_pem.write_to_path(directory / "daemon.key")
    (directory / "daemon.key").chmod(0o600)
    for role, password in PASSWORDS.items():
        secret = directory / role
        secret.write_text(f"{password}\n")
        secret.chmod(0o600)
    return directory


@pytest.fixture(scope="module")
def daemon(files: Path) -> Iterator[Daemon]:
    config = files / "daemon.toml"
    config.write_text(
        f"""
        [resp]
        listen = "127.0.0.1:0"
        certificate = "{files}/daemon.crt"
        key = "{files}/daemon.key"

        [access]
        readonly_password_file = "{files}/readonly"
        application_password_file = "{files}/application"
        admin_password_file = "{files}/admin"
        """
    )
    with serving(files / "a", "--config", str(config)) as daemon:
        yield daemon


def connected(daemon: Daemon, files: Path, login: str = "") -> replicator.Client:
    url = f"rediss://{login}{daemon.ready['resp']}"
    return replicator.connect(url, tls={"ca": str(files / "ca.crt")})


def test_each_may_do_what_its_role_may(daemon: Daemon, files: Path) -> None:
    with connected(daemon, files, ":use@") as db:
        db.put(b"k", b"v")
        assert db.incr(b"n") == 1
        assert db.status().name == "a"
        with pytest.raises(AccessError):
            db.resolve(b"k", b"w")
    with connected(daemon, files, "readonly:look@") as db:
        assert db.get(b"k") == b"v"
        for write in (lambda: db.put(b"k", b"w"), lambda: db.incr(b"n"), lambda: db.delete(b"k")):
            with pytest.raises(AccessError):
                write()
    with connected(daemon, files, "admin:s3cret@") as db:
        db.resolve(b"k", b"w")
        assert db.get(b"k") == b"w"


def test_passwords_of_the_environment(
    daemon: Daemon, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(USER, "admin")
    monkeypatch.setenv(PASSWORD, "s3cret")
    with connected(daemon, files) as db:
        assert db.execute(b"PING") == b"PONG"


@pytest.mark.parametrize("login", ["", ":wrong@", "admin:use@", "nobody:use@"])
def test_who_is_not_let_in(daemon: Daemon, files: Path, login: str) -> None:
    with pytest.raises(AccessError, match="name user and password"):
        connected(daemon, files, login)


def test_a_daemon_that_nobody_vouches_for(daemon: Daemon) -> None:
    with pytest.raises(UnreachableError, match="certificate verify failed"):
        replicator.connect(f"rediss://:use@{daemon.ready['resp']}")
