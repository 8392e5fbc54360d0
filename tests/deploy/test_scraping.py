"""A real Prometheus scrapes real nodes: what they tell is what alerts and plots speak of."""

import json
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.daemons import Daemon, replicator, serving, until
from tests.deploy.metrics import METRICS
from tests.deploy.test_monitoring import ALERTS, RULES, plotted
from tests.deploy.tools import CONFIGS, document, tool

pytestmark = pytest.mark.processes

LATER = {"replicator_conflicts_open"}
"""Told from the first count on, which a scrape sets off."""


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
        text: str = answer.read().decode()
        return text


def told(daemon: Daemon) -> dict[str, set[str]]:
    """The metrics of a node with the names of their labels."""
    found: dict[str, set[str]] = {}
    for line in fetch(f"http://{daemon.ready['http']}/metrics").splitlines():
        if line and not line.startswith("#"):
            name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels or ""))
    return found


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """Two that replicate, after a write and a read."""
    tmp_path = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        options = ("--http", "127.0.0.1:0")
        a = stack.enter_context(serving(tmp_path / "a", *options))
        b = stack.enter_context(serving(tmp_path / "b", *options, "--peer", a.address))
        assert replicator("put", "k", "v", "--data", str(a.data)).exit_code == 0
        until(lambda: replicator("get", "k", "--data", str(b.data)).exit_code == 0)
        yield [a, b]


class Prometheus:
    """A running Prometheus."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, path: str, **arguments: str) -> Any:
        query = urllib.parse.urlencode(arguments)
        answer = json.loads(fetch(f"http://{self._address}/api/v1/{path}?{query}"))
        assert answer["status"] == "success"
        return answer["data"]

    def values(self, expr: str) -> list[float]:
        return [float(one["value"][1]) for one in self.ask("query", query=expr)["result"]]


@contextmanager
def prometheus(directory: Path, targets: list[str]) -> Iterator[Prometheus]:
    """One with the configuration that is shipped, but for targets, intervals and paths."""
    program = tool("prometheus")
    config = document(CONFIGS / "prometheus" / "prometheus.yml")
    (job,) = config["scrape_configs"]
    job["scrape_interval"] = "1s"
    job["static_configs"] = [{"targets": targets}]
    config["rule_files"] = [str(ALERTS)]
    config["global"] = {"evaluation_interval": "200ms", "scrape_timeout": "1s"}
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (directory / "prometheus.log").open("w") as log:
        running = subprocess.Popen(
            [
                program,
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                fetch(f"http://{address}/-/ready")
                break
            except OSError:
                assert time.monotonic() < deadline, (directory / "prometheus.log").read_text()
                time.sleep(0.1)
        yield Prometheus(address)
    finally:
        running.terminate()
        running.wait(30)


def test_nodes_tell_what_alerts_and_plots_speak_of(nodes: list[Daemon]) -> None:
    until(lambda: all(told(daemon).keys() >= LATER for daemon in nodes))
    for daemon in nodes:
        found = told(daemon)
        assert METRICS.keys() <= found.keys()
        for name, labels in METRICS.items():
            assert found[name] == labels, name
        others = {name for name in found if name.startswith("replicator_")} - METRICS.keys()
        assert not others, "plot them, or let an alert speak of them"


def test_prometheus_scrapes_them_and_evaluates_all(nodes: list[Daemon], tmp_path: Path) -> None:
    targets = [str(daemon.ready["http"]) for daemon in nodes]
    nobody = "127.0.0.1:1"
    with prometheus(tmp_path, [*targets, nobody]) as server:
        until(lambda: server.values('sum(up{job="replicator"})') == [2])
        until(lambda: bool(server.values("rate(replicator_writes_total[1m])")))
        assert server.values("sum(replicator_writes_total)") == [1]
        until(lambda: all(server.values(expr) for expr in plotted()))

        def rules() -> list[Any]:
            (group,) = server.ask("rules")["groups"]
            found: list[Any] = group["rules"]
            return found

        until(lambda: all(rule["health"] != "unknown" for rule in rules()))
        assert [rule["name"] for rule in rules()] == list(RULES)
        assert {rule["health"] for rule in rules()} == {"ok"}
        assert not [rule["name"] for rule in rules() if rule["state"] == "firing"]

        def pending() -> list[tuple[str, str]]:
            found = server.ask("alerts")["alerts"]
            return [(one["labels"]["alertname"], one["labels"]["instance"]) for one in found]

        until(lambda: pending() == [("ReplicatorDown", nobody)])
