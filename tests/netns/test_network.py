"""The harness itself: namespaces are joined as said, cut as said, and none is left."""

import subprocess
import sys
import time

import pytest

from tests.netns import network as module
from tests.netns.network import PREFIX, Host, Network, NetworkError, ip, namespaces, sweep

pytestmark = pytest.mark.netns

CONNECT = (
    "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5).close()"
)


def reaches(host: Host, address: str, port: int) -> bool:
    command = [*host.within, sys.executable, "-c", CONNECT, address, str(port)]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def listening(host: Host, port: int) -> "subprocess.Popen[str]":
    """A process that accepts connections on a host until it is killed."""
    program = (
        "import socket, sys; s = socket.create_server(('', int(sys.argv[1])))\n"
        "print('ready', flush=True)\nwhile True: s.accept()[0].close()"
    )
    command = [*host.within, sys.executable, "-c", program, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_hosts_reach_each_other_until_cut_and_after(network: Network) -> None:
    switch = network.switch("s")
    a, b = network.host("a"), network.host("b")
    a.plug(switch, "10.7.0.1/24")
    _, port = switch.cable(b)
    b.ip("address", "add", "10.7.0.2/24", "dev", "eth0")
    with listening(b, 9000) as server:
        try:
            assert reaches(a, "10.7.0.2", 9000)
            switch.cut(port)
            assert not reaches(a, "10.7.0.2", 9000)
            switch.heal(port)
            deadline = time.monotonic() + 30
            while not reaches(a, "10.7.0.2", 9000):
                assert time.monotonic() < deadline
        finally:
            server.kill()


def test_only_neighbours_reach_each_other(network: Network) -> None:
    a, b, c = (network.host(name) for name in "abc")
    a.link_to(b, "10.7.1.1/30", "10.7.1.2/30")
    b.link_to(c, "10.7.2.1/30", "10.7.2.2/30")
    with listening(c, 9000) as server:
        try:
            assert reaches(b, "10.7.2.2", 9000)
            assert not reaches(a, "10.7.2.2", 9000)
        finally:
            server.kill()


def test_nothing_is_left_of_it(network: Network) -> None:
    with pytest.raises(ZeroDivisionError), Network() as mine:
        switch = mine.switch("s")
        host = mine.host("h")
        host.plug(switch, "10.7.3.1/24")
        hardware = host.ip("-brief", "link", "show", "eth0").split()[2]
        assert hardware not in ip("link", "show")
        server = listening(host, 9000)
        assert {switch.namespace, host.namespace} <= set(namespaces())
        raise ZeroDivisionError
    with server:
        assert server.wait(30) == -9
    assert not {switch.namespace, host.namespace} & set(namespaces())


def test_what_a_killed_run_left_is_swept_away(network: Network) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = f"{PREFIX}-{ended.pid}-1-h"
    mine = network.host("h").namespace
    ip("netns", "add", left)
    sweep()
    assert left not in namespaces()
    assert mine in namespaces()


def test_an_error_says_what_failed(network: Network) -> None:
    host = network.host("h")
    with pytest.raises(NetworkError, match=rf"{host.namespace} link set eth9 up: .*eth9"):
        host.ip("link", "set", "eth9", "up")


def test_where_there_is_no_ip_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    module.why_not.cache_clear()
    try:
        reason = module.why_not()
    finally:
        module.why_not.cache_clear()
    assert reason is not None
    assert "iproute2" in reason
