"""HTTP of a real daemon."""

import http.client
import json
import os
import signal
import ssl
import stat
import urllib.request
from pathlib import Path

import pytest
import trustme

from tests.cli.daemons import Daemon, replicator, replicator_process, serving, until

from .serving import TOKEN, asked

pytestmark = pytest.mark.processes


def port_of(daemon: Daemon) -> int:
    return int(daemon.ready["http"].rpartition(":")[2])


def metric(daemon: Daemon, name: str) -> float:
    lines = asked(port_of(daemon), "/metrics").text.splitlines()
    (value,) = [line.split(" ")[1] for line in lines if line.startswith(f"{name} ")]
    return float(value)


def test_it_answers_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATOR_ACCESS_HTTP_TOKEN", TOKEN)
    with serving(tmp_path / "a", "--http", "0") as daemon:
        port = port_of(daemon)
        assert asked(port, "/readyz").text == "ready\n"
        assert replicator("put", "k", "v", "--data", str(tmp_path / "a")).exit_code == 0
        assert replicator("get", "k", "--data", str(tmp_path / "a")).exit_code == 0
        until(lambda: metric(daemon, "replicator_writes_total") == 1.0)
        until(lambda: metric(daemon, "replicator_reads_total") >= 1.0)
        assert metric(daemon, "replicator_commit_seconds_count") >= 1.0
        found = asked(port, "/status").json
        assert found["status"]["address"] == daemon.address
        assert "GET" in found["resp"]["commands"]
        assert TOKEN not in json.dumps(found)
        line = Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes()
        assert TOKEN.encode() not in line
        assert daemon.end() == 0
        assert TOKEN not in daemon.log and "Traceback" not in daemon.log


def test_an_open_page_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with serving(tmp_path / "a", "--http", "0") as daemon:
        url = f"http://127.0.0.1:{port_of(daemon)}/events"
        with urllib.request.urlopen(url, timeout=30) as page:
            assert page.readline() == b"event: state\n"
            assert daemon.end(signal.SIGTERM) == 0
            assert page.read().endswith(b"\n\n")  # whole: the answer was ended, not cut


def test_beyond_loopback_it_needs_tls_and_a_token(tmp_path: Path) -> None:
    data = str(tmp_path / "a")
    done = replicator_process(
        "serve", "--data", data, "--http", "0.0.0.0:0", "--listen", "127.0.0.1:0", "--no-multicast"
    )
    assert done.returncode == 2
    assert "[http] refuses to listen on 0.0.0.0 without TLS" in done.stderr
    assert "token" in done.stderr


def test_over_tls_with_a_certificate_that_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, certificate, key = (tmp_path / name for name in ("token", "certificate", "key"))
    token.write_text(TOKEN)
    token.chmod(stat.S_IRUSR)
    key.touch(mode=0o600)
    first, second = trustme.CA(), trustme.CA()

    def issue(ca: trustme.CA) -> None:
        issued = ca.issue_cert("localhost")
        certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())

    def answers(ca: trustme.CA, path: str = "/readyz", **headers: str) -> int:
        context = ssl.create_default_context()
        ca.configure_trust(context)
        request = urllib.request.Request(f"https://localhost:{port_of(daemon)}{path}")
        for name, value in headers.items():
            request.add_header(name, value)
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return int(answer.status)

    issue(first)
    monkeypatch.setenv("REPLICATOR_HTTP_CERTIFICATE", str(certificate))
    monkeypatch.setenv("REPLICATOR_HTTP_KEY", str(key))
    monkeypatch.setenv("REPLICATOR_ACCESS_HTTP_TOKEN_FILE", str(token))
    with serving(tmp_path / "a", "--http", "0.0.0.0:0") as daemon:
        assert answers(first) == 200
        assert answers(first, "/conflicts", Authorization=f"Bearer {TOKEN}") == 200
        context = ssl.create_default_context()
        first.configure_trust(context)
        watching = http.client.HTTPSConnection("localhost", port_of(daemon), context=context)
        watching.request("GET", "/events", headers={"Authorization": f"Bearer {TOKEN}"})
        page = watching.getresponse()
        issue(second)
        token.chmod(stat.S_IRUSR | stat.S_IWUSR)
        token.write_text("another-token-altogether")
        os.kill(daemon.process.pid, signal.SIGHUP)

        def is_renewed() -> bool:
            try:
                return answers(second) == 200
            except OSError:
                return False

        until(is_renewed)
        assert page.read().startswith(b"event: state\n")  # and is over: it is to ask anew
        watching.close()
        bearer = "Bearer another-token-altogether"
        assert answers(second, "/conflicts", Authorization=bearer) == 200
        with pytest.raises(OSError, match="401"):
            answers(second, "/conflicts", Authorization=f"Bearer {TOKEN}")
