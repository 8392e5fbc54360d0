"""The gateway of examples/ as a process, over the library's handle and over daemons."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import replicator
from tests.cli.daemons import serving, until

pytestmark = pytest.mark.processes

GATEWAY = Path(__file__).parents[2] / "examples" / "gateway.py"


@contextmanager
def gateway(*places: str) -> Iterator[HTTPConnection]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(GATEWAY), *places],
        env={**os.environ, "PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield HTTPConnection(urlsplit(process.stdout.readline().strip()).netloc, timeout=30)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def ask(http: HTTPConnection, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    try:
        http.request(method, path, body)
        response = http.getresponse()
        return response.status, response.read()
    finally:
        http.close()


def use(http: HTTPConnection) -> None:
    assert ask(http, "GET", "/user:1") == (404, b"")
    assert ask(http, "PUT", "/user:1", b"Ada") == (200, b"")
    assert ask(http, "PUT", "/user%2F%FF", bytes(range(256))) == (200, b"")
    assert ask(http, "GET", "/user:1") == (200, b"Ada")
    assert ask(http, "GET", "/user%2F%FF") == (200, bytes(range(256)))
    assert ask(http, "PUT", "/other", b"") == (200, b"")
    assert ask(http, "GET", "/?prefix=user") == (200, b"/user/%FF\n/user%3A1\n")
    assert ask(http, "DELETE", "/user:1") == (200, b"")
    assert ask(http, "GET", "/") == (200, b"/other\n/user/%FF\n")
    status, says = ask(http, "PUT", "/%FF%FF%FF%FF", b"x")
    assert (status, b"reserved" in says) == (400, True)


def test_over_the_library(tmp_path: Path) -> None:
    with gateway(str(tmp_path / "data")) as http:
        use(http)


def test_over_daemons_one_of_which_goes(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "a") as a,
        serving(tmp_path / "b", "--peer", a.address) as b,
        gateway(f"unix:{a.data}", f"unix:{b.data}") as http,
    ):
        use(http)
        assert ask(http, "PUT", "/k", b"v") == (200, b"")
        with replicator.connect(f"unix:{b.data}") as there:
            until(lambda: there.get(b"k") == b"v")
        a.end(signal.SIGTERM)
        assert ask(http, "GET", "/k") == (200, b"v")
        b.end(signal.SIGTERM)
        status, says = ask(http, "GET", "/k")
        assert (status, says.startswith(b"no daemon answers")) == (503, True)
