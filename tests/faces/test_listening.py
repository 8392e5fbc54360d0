"""Where the daemon listens, and whom it refuses."""

import os
import socket
import ssl
import stat
from pathlib import Path

import pytest
import trustme

from replicator.errors import ConfigError, StorageError, UsageError
from replicator.faces import listening
from replicator.faces.listening import ServerContext, TlsServerFiles, UnixListener, parse_listen
from replicator.net.address import Address
from tests.faces.servercerts import Site


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("6379", Address("127.0.0.1", 6379)),
        ("0", Address("127.0.0.1", 0)),
        ("0.0.0.0:6379", Address("0.0.0.0", 6379)),
        ("[::1]:1", Address("::1", 1)),
        ("localhost:1", Address("localhost", 1)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "host", "::1:1", "70000", "a:b", ":1:", "redis://a:1", "-1"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        parse_listen(text)


def test_names_are_resolved() -> None:
    assert "127.0.0.1" in listening.addresses_of("localhost")
    with pytest.raises(ConfigError, match="does not resolve"):
        listening.addresses_of("host.invalid")


def test_strangers_are_refused_without_tls_and_a_secret() -> None:
    def judge(*addresses: str, tls: bool, secret: bool, insecure: bool = False) -> None:
        listening.refuse_strangers(
            addresses, "resp", has_tls=tls, has_secret=secret, insecure=insecure
        )

    judge("127.0.0.1", "::1", "127.3.2.1", tls=False, secret=False)
    judge("0.0.0.0", tls=True, secret=True)
    judge("0.0.0.0", tls=False, secret=False, insecure=True)
    with pytest.raises(UsageError, match=r"listen on 0.0.0.0 without TLS .* and a password"):
        judge("127.0.0.1", "0.0.0.0", tls=False, secret=False)
    with pytest.raises(UsageError, match=r"listen on :: without TLS \(cert.*\[resp\]\): whoever"):
        judge("::", tls=False, secret=True)
    with pytest.raises(UsageError, match=r"fe80::1%eth0 without a password \(admin_password_file"):
        judge("fe80::1%eth0", tls=True, secret=False)
    with pytest.raises(UsageError, match=r"without a token \(http_token_file .*HTTP_TOKEN"):
        listening.refuse_strangers(
            ["10.0.0.1"], "http", has_tls=True, has_secret=False, insecure=False
        )


def test_tcp_on_several_addresses_with_one_port() -> None:
    sockets = listening.bound_tcp(Address("localhost", 0), ["127.0.0.1", "::1"])
    try:
        assert len({one.getsockname()[1] for one in sockets}) == 1
        for one in sockets:
            assert not one.getblocking()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(one.getsockname()[:2])
            listening.listen(one)
            with socket.create_connection(one.getsockname()[:2]):
                pass
        address = listening.listening_on(sockets[0])
        with pytest.raises(UsageError, match="the port is in use"):
            listening.bound_tcp(address, ["127.0.0.1"])
    finally:
        for one in sockets:
            one.close()


def test_addresses_of_other_machines() -> None:
    with pytest.raises(ConfigError, match=r"'192\.0\.2\.1': it is no address of this machine"):
        listening.bound_tcp(Address("192.0.2.1", 0), ["192.0.2.1"])
    (only,) = listening.bound_tcp(Address("x", 0), ["192.0.2.1", "127.0.0.1"])
    with only:
        assert listening.listening_on(only).host == "127.0.0.1"


def test_a_unix_socket_has_its_mode_and_group(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    listener = UnixListener(path, 0o620, str(os.getgid()))
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o620
    assert found.st_gid == os.getgid()
    assert not listener.socket.getblocking()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()
    assert not path.exists()
    listener.close()


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    listener = UnixListener(path, 0o600)
    try:
        with pytest.raises(UsageError, match="another program listens on"):
            UnixListener(path, 0o600)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    finally:
        listener.close()


def test_what_is_no_stream_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(UsageError, match="no socket"):
        UnixListener(path, 0o600)
    assert path.read_text() == "precious"
    path = tmp_path / "link"
    path.symlink_to(tmp_path / "file")
    with pytest.raises(UsageError, match="no socket"):
        UnixListener(path, 0o600)
    path = tmp_path / "datagrams"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(UsageError, match="another program's"):
            UnixListener(path, 0o600)
    assert path.exists()


def test_a_socket_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    first = UnixListener(path, 0o600)
    path.rename(tmp_path / "moved")
    second = UnixListener(path, 0o600)
    first.close()
    assert path.exists()
    second.close()


def test_unix_sockets_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="107 bytes"):
        UnixListener(tmp_path / ("x" * 120), 0o600)
    with pytest.raises(ConfigError, match="no group 'nobody at all'"):
        UnixListener(tmp_path / "s", 0o600, "nobody at all")
    with pytest.raises(StorageError, match="No such file"):
        UnixListener(tmp_path / "missing" / "s", 0o600)
    assert not (tmp_path / "s").exists()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def shaken(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Have a client shake hands with a server that it expects to be called so; the version."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    open_ends = [ours, theirs]
    for _ in range(20):
        for end in list(open_ends):
            try:
                end.do_handshake()
                open_ends.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not open_ends
    return theirs.version()


def client_of(site: Site) -> ssl.SSLContext:
    context = ssl.create_default_context()
    site.ca.configure_trust(context)
    return context


def test_tls_and_new_files_for_new_connections(site: Site) -> None:
    context = ServerContext(site.issue("old.example"))
    client = client_of(site)
    assert shaken(context, client, "old.example") == "TLSv1.3"
    files = site.issue("new.example")
    assert shaken(context, client, "old.example") == "TLSv1.3"
    context.use(ServerContext(files))
    assert shaken(context, client, "new.example") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(context, client, "old.example")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_refused(site: Site) -> None:
    context = ServerContext(site.issue("a.example"))
    client = client_of(site)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shaken(context, client, "a.example") == "TLSv1.2"
    client.minimum_version = ssl.TLSVersion.TLSv1_1
    client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        shaken(context, client, "a.example")


def test_clients_show_a_certificate_where_a_ca_is_named(site: Site) -> None:
    context = ServerContext(site.issue("a.example", client_ca=True))
    client = client_of(site)
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # where a refusal comes within the handshake
    with pytest.raises(ssl.SSLError):
        shaken(context, client, "a.example")
    site.ca.issue_cert("client.example").configure_cert(client)
    assert shaken(context, client, "a.example") == "TLSv1.2"


def test_files_that_cannot_be_used(site: Site, tmp_path: Path) -> None:
    files = site.issue("a.example")
    missing = TlsServerFiles(tmp_path / "missing", files.key)
    with pytest.raises(ConfigError, match=r"missing cannot be read \(No such file"):
        ServerContext(missing)
    other = tmp_path / "other.key"
    trustme.CA().issue_cert("b.example").private_key_pem.write_to_path(other)
    other.chmod(0o600)
    with pytest.raises(ConfigError, match=r"other.key cannot be used .*mismatch"):
        ServerContext(TlsServerFiles(files.certificate, other))
    bad_ca = TlsServerFiles(files.certificate, files.key, files.key)
    with pytest.raises(ConfigError, match="name certificates of a CA"):
        ServerContext(bad_ca)
    files.key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"open to other users \(mode 0644\)"):
        ServerContext(files)
