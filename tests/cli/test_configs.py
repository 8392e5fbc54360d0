"""The files in ``configs/``: each starts real nodes, which do what it is for.

Only what a test machine cannot have is replaced: directories and addresses on the command line, the
cluster's name in a copy where nodes of another run might hear it, and files that a person makes
first by such files beside the copy.
"""

import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import dns.message
import pytest
import trustme

from replicator.faces.configuration import Given, read_config
from tests.cli.daemons import Daemon, documents, replicator, until
from tests.discovery.nameserver import NameServer

pytestmark = pytest.mark.processes

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.rglob("*.toml"))

SERVICE = "orders.default.svc.cluster.local."


class Site:
    """The nodes of one test.

    Args:
        stack: ends them.
        directory: holds their data and copies of files.
    """

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._stack = stack
        self._directory = directory
        self._cluster = f"test {uuid4()}"

    def start(self, name: str, config: Path, *arguments: str, within: tuple[str, ...] = ()) -> Path:
        """Start a node, and give its directory."""
        data = self._directory / name
        options = ["--config", str(config), "--name", name, *arguments]
        daemon = Daemon(data, *options, within=within)
        self._stack.callback(daemon.clean_up)
        assert daemon.ready["name"] == name
        return data

    def copy(self, file: str, beside: str = "copy") -> Path:
        """A copy of a file, in a directory of its own, for a cluster that nobody else is in."""
        text = (CONFIGS / file).read_text()
        text, count = re.subn(r'^cluster = ".*"$', f'cluster = "{self._cluster}"', text, flags=re.M)
        assert count == 1
        copy = self._directory / beside / Path(file).name
        copy.parent.mkdir()
        copy.write_text(text)
        return copy

    def certificates(self, ca: str, *names: str) -> Path:
        """A new CA, and a certificate for each of the names."""
        directory = self._directory / ca
        assert replicator("certs", "init", str(directory)).exit_code == 0
        for name in names:
            assert replicator("certs", "issue", name, "--dir", str(directory)).exit_code == 0
        return directory


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(stack, tmp_path)


def put(data: Path, key: str) -> None:
    assert replicator("put", key, f"value of {key}", "--data", str(data)).exit_code == 0


def holds(data: Path, *keys: str) -> bool:
    """Whether a node holds these keys and no other."""
    found = {one["key"]: one["value"] for one in documents("scan", "--data", str(data))}
    return found == {key: f"value of {key}" for key in keys}


def log_of(data: Path) -> str:
    return data.with_name(f"{data.name}.log").read_text()


def become_equal(*nodes: Path) -> None:
    """Every node takes a write, and all end with all of them."""
    for data in nodes:
        put(data, data.name)
    for data in nodes:
        until(lambda data=data: holds(data, *[one.name for one in nodes]))
        (status,) = documents("status", "--data", str(data))
        assert status["daemon"] is True
        assert status["counters"]["writes"] == 1
        assert "Traceback" not in log_of(data)


def discovery_of(data: Path) -> dict[str, str]:
    """What its providers have found."""
    (status,) = documents("status", "--data", str(data))
    found: dict[str, str] = status["discovery"]
    return found


def addresses(count: int) -> list[str]:
    """Addresses of this machine with one port that is free on all of them."""
    hosts = [f"127.0.0.{number}" for number in range(2, 2 + count)]
    while True:
        with ExitStack() as stack:
            port = 0
            try:
                for host in hosts:
                    probe = stack.enter_context(socket.socket())
                    probe.bind((host, port))
                    port = probe.getsockname()[1]
            except OSError:
                continue
        return [f"{host}:{port}" for host in hosts]


def deliver(ca: Path, name: str, config: Path, directory: str) -> None:
    """Put the files of a node where its configuration looks for them."""
    target = config.parent / directory
    target.mkdir(exist_ok=True)
    for made, there in (
        ("ca.crt", "ca.crt"),
        ("revoked.crl", "revoked.crl"),
        (f"{name}.crt", "node.crt"),
        (f"{name}.key", "node.key"),
    ):
        shutil.copy(ca / made, target / there)


def test_development(site: Site) -> None:
    """Two on one machine, as the file says: nobody names an address."""
    config = site.copy("development.toml")
    a = site.start("a", config, "--listen", "127.0.0.1:0")
    b = site.start("b", config, "--listen", "127.0.0.1:0")
    become_equal(a, b)


def test_multicast_subnet(site: Site) -> None:
    config = site.copy("multicast-subnet.toml")
    here = ("--listen", "127.0.0.1:0", "--http", "0")
    a = site.start("a", config, *here)
    b = site.start("b", config, *here)
    become_equal(a, b)
    # Equal may be before each has heard the other; and there may be more to say, of strangers here.
    for data in (a, b):
        until(lambda data=data: discovery_of(data)["multicast"].startswith("1 found"))


def test_static_vpc(site: Site) -> None:
    """All are given the same list: each leaves itself out of it."""
    config = CONFIGS / "static-vpc.toml"
    three = addresses(3)
    peers = [option for address in three for option in ("--peer", address)]
    nodes = [
        site.start(name, config, "--listen", address, "--resp", "0", "--http", "0", *peers)
        for name, address in zip("abc", three, strict=True)
    ]
    become_equal(*nodes)
    for data in nodes:
        assert discovery_of(data) == {}
        until(lambda data=data: len(documents("members", "--data", str(data))) == 3)


def test_two_regions(site: Site) -> None:
    """East and west know each other by address; the second of the west is named nowhere, and finds
    its neighbour by multicast. Who has certificates of another CA, or none, stays out."""
    east, west, second, nobody = addresses(4)
    ca = site.certificates("ca", "east-1", "west-1", "west-2")
    others = site.certificates("another ca", "stranger")
    configs = {}
    for name in ("east-1", "west-1", "west-2", "stranger"):
        configs[name] = site.copy("two-regions-tls.toml", beside=f"machine of {name}")
        deliver(others if name == "stranger" else ca, name, configs[name], "tls")
        secrets(configs[name].parent / "access")
        serve_as(name, configs[name].parent / "tls")
    named = ("--peer", east, "--peer", west)
    served = ("--resp", "0.0.0.0:0", "--http", "0.0.0.0:0")
    far = ("--listen", east, "--no-multicast", *served, *named)
    nodes = [
        site.start("east-1", configs["east-1"], *far),
        site.start("west-1", configs["west-1"], "--listen", west, *served, *named),
        site.start("west-2", configs["west-2"], "--listen", second, *served, "--peer", nobody),
    ]
    become_equal(*nodes)
    checked = replicator("config", "check", str(configs["east-1"]))
    assert checked.stdout.endswith(": no mistakes\n")
    alone = ("--listen", "127.0.0.1:0", "--no-multicast", "--peer", east)
    stranger = site.start("stranger", configs["stranger"], *alone, *served)
    plain = site.start("plain", site.copy("development.toml"), *alone)
    for data, why in ((stranger, "not of this cluster's CA"), (plain, "this node speaks TLS only")):
        until(lambda data=data, why=why: why in log_of(data))
        assert holds(data)
    assert holds(nodes[0], "east-1", "west-1", "west-2")


def secrets(directory: Path) -> None:
    """Passwords and the token, as the heads of the files say."""
    directory.mkdir()
    for name in ("readonly-password", "application-password", "admin-password", "http-token"):
        path = directory / name
        path.write_text(f"secret-of-{name}\n")
        path.chmod(0o400)


def serve_as(name: str, directory: Path) -> None:
    """A certificate for programs, of a CA that they trust."""
    made = trustme.CA().issue_cert(f"{name}.replicator.example.org")
    made.cert_chain_pems[0].write_to_path(directory / "server.crt")
    made.private_key_pem.write_to_path(directory / "server.key")
    (directory / "server.key").chmod(0o600)


def says(where: str | tuple[str, int], *commands: str) -> list[str]:
    """What a node answers to commands of a client of the Redis protocol, a line each.

    Args:
        where: the path of a Unix socket, or host and port.
    """
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(10)
        client.connect(where)
        answers = []
        with client.makefile("r") as lines:
            for command in commands:
                client.sendall(f"{command}\r\n".encode())
                answers.append(lines.readline().strip())
        return answers


def check(config: Path) -> None:
    """Where all that a file names is there, nothing is wrong with it."""
    done = replicator("config", "check", str(config))
    assert (done.exit_code, done.stdout) == (0, f"{config}: no mistakes\n")


def test_docker(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three containers with one file; their names are looked up anew at every attempt."""
    config = site.copy("docker/replicator.toml")
    secrets(tmp_path / "secrets")
    three, doors = addresses(3), addresses(3)
    nodes = []
    for one in ("application_password", "admin_password", "http_token"):
        path = tmp_path / "secrets" / one.replace("_", "-")
        monkeypatch.setenv(f"REPLICATOR_ACCESS_{one.upper()}_FILE", str(path))
    check(config)
    for name, address, resp in zip("abc", three, doors, strict=True):
        within = ("env", f"REPLICATOR_NODE_NAME={name}")
        here = ("--listen", address, "--resp", resp, "--http", "127.0.0.1:0")
        peers = [option for other in three for option in ("--peer", other)]
        nodes.append(site.start(name, config, *here, *peers, within=within))
    become_equal(*nodes)
    host, _, port = doors[0].partition(":")
    password = "secret-of-application-password"
    refused, *answers = says(
        (host, int(port)), "SET k v", f"AUTH {password}", "SET k v", "FLUSHALL"
    )
    assert refused.startswith("-NOAUTH ")
    assert answers[:2] == ["+OK", "+OK"]
    assert answers[2].startswith("-NOPERM ")


def test_systemd(site: Site, tmp_path: Path) -> None:
    """Two services, each with its own certificate, and its socket where systemd makes room."""
    ca = site.certificates("ca", "a", "b")
    two = addresses(2)
    nodes = []
    for name, address in zip("ab", two, strict=True):
        config = site.copy("systemd/replicator.toml", beside=f"machine of {name}")
        deliver(ca, name, config, "tls")
        within = (
            "env",
            f"REPLICATOR_RESP_SOCKET={tmp_path / name}.sock",
            f"REPLICATOR_RESP_SOCKET_GROUP={os.getgid()}",
        )
        here = ("--listen", address, "--http", "127.0.0.1:0")
        peers = [option for other in two for option in ("--peer", other)]
        nodes.append(site.start(name, config, *here, *peers, within=within))
    become_equal(*nodes)
    door = tmp_path / "a.sock"
    assert door.stat().st_mode & 0o777 == 0o660
    assert says(str(door), "SET k v", "TTL k") == ["+OK", ":-1"]


def test_kubernetes(site: Site, tmp_path: Path) -> None:
    """Two pods with one Secret, and an address and a name each; the second comes later."""
    config = site.copy("kubernetes/replicator.toml")
    deliver(site.certificates("ca", "node"), "node", config, "tls")
    secrets(config.parent / "access")
    check(config)
    pods = addresses(2)
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(
        "nameserver 127.0.0.1\n"
        "search default.svc.cluster.local svc.cluster.local cluster.local\n"
        "options ndots:5\n"
    )
    nodes = []
    with answering() as server:
        for number, address in enumerate(pods):
            name = f"orders-{number}"
            register(server, f"{name}.{SERVICE}", address)
            within = (sys.executable, str(Path(__file__).with_name("asking.py")))
            asking = (*within, str(resolv_conf), str(server.address[1]))
            here = ("--listen", address, "--resp", "127.0.0.1:0", "--http", "127.0.0.1:0")
            nodes.append(site.start(name, config, *here, within=asking))
        become_equal(*nodes)
    assert (f"_replication._tcp.{SERVICE}", "SRV") in server.asked


def register(server: NameServer, pod: str, address: str) -> None:
    """Let the service have one pod more, which DNS lists before it is ready."""
    host, _, port = address.partition(":")
    server.records[pod, "A"] = [host]
    service = (f"_replication._tcp.{SERVICE}", "SRV")
    server.records[service] = [*server.records.get(service, []), f"0 50 {port} {pod}"]


@contextmanager
def answering() -> Iterator[NameServer]:
    """A name server in a thread of this process, while others are being waited for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as questions:
        questions.bind(("127.0.0.1", 0))
        server = NameServer(questions.getsockname())

        def serve() -> None:
            while True:
                data, asker = questions.recvfrom(4096)
                if not data:
                    return
                response = server.answer(dns.message.from_wire(data))
                assert response is not None
                questions.sendto(response.to_wire(), asker)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            questions.sendto(b"", server.address)
            thread.join()


CASES = {
    "development.toml": test_development,
    "docker/replicator.toml": test_docker,
    "kubernetes/replicator.toml": test_kubernetes,
    "multicast-subnet.toml": test_multicast_subnet,
    "static-vpc.toml": test_static_vpc,
    "systemd/replicator.toml": test_systemd,
    "two-regions-tls.toml": test_two_regions,
}


def test_every_file_has_a_case() -> None:
    assert {str(path.relative_to(CONFIGS)) for path in FILES} == set(CASES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_file_is_read_and_begins_with_what_to_do(path: Path) -> None:
    config = read_config(path)
    assert config.data is not None and config.data.is_absolute()
    done = replicator("config", "check", "--file-only", str(path))
    assert (done.exit_code, done.stdout) == (0, f"{path}: no mistakes\n")
    head = path.read_text().partition("\n\n")[0]
    assert re.search(rf"^#     replicator serve --config \S*{path.name}( |$)", head, re.MULTILINE)
    assert "first" in head


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_what_is_commented_out_could_be_meant_as_well(path: Path) -> None:
    text = re.sub(r"^# (?=[a-z_]+ = )", "", path.read_text(), flags=re.MULTILINE)
    found, _ = Given(path).examine(text)
    assert [str(mistake) for mistake in found] == []
