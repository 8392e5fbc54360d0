"""Metrics: complete, valid, and safe whatever the nodes are called."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from replicator.faces.http.limits import NODES_SHOWN_MAX
from replicator.faces.http.metrics import named, render
from replicator.release import software_version
from replicator.status import MemberStatus

from .serving import Resp, Served, alone, conflicting, until

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "HTTP.md"


def samples(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from family.samples


async def value(served: Served, name: str, **labels: str) -> float | None:
    text = (await served.ask("/metrics")).text
    found = [one.value for one in samples(text) if one.name == name and one.labels == labels]
    return found[0] if found else None


def documented() -> dict[str, str]:
    """The names in the table, with their labels, and what kind each is said to be."""
    rows = re.findall(
        r"^\| `(replicator_[a-z_]+)(?:\{[a-z,]+\})?` \| (\w+) \|", DOCUMENT.read_text(), re.M
    )
    return dict(rows)


async def test_the_table_is_complete(tmp_path: Path) -> None:
    resp = Resp(3, 2, 1, 4, {"GET": 7, "SET": 1})
    async with conflicting(tmp_path, b"k", resp=lambda: resp) as (served, _):

        async def is_counted() -> bool:
            return await value(served, "replicator_conflicts_open") is not None

        await until(is_counted)
        text = (await served.ask("/metrics")).text
        ours = {
            "replicator_info" if family.name == "replicator" else family.name: family.type
            for family in text_string_to_metric_families(text)
            if family.name.startswith("replicator")
        }
        given = {
            name + "_total" if kind == "counter" else name: kind for name, kind in ours.items()
        }
        assert documented() == given


def test_dashboards_and_alerts_ask_for_nothing_else() -> None:
    asked = set()
    for path in (ROOT / "configs").rglob("*"):
        if path.suffix in (".json", ".yml", ".yaml") and path.is_file():
            asked |= set(re.findall(r"\breplicator_[a-z_]+\b", path.read_text()))
    asked = {re.sub("_(bucket|count|sum)$", "", name) for name in asked}
    assert asked and asked <= set(documented())


async def test_both_formats_are_valid(tmp_path: Path) -> None:
    async with alone(tmp_path, resp=lambda: Resp(commands={"GET": 7})) as served:
        served.replica.put(b"k", b"v")
        answer = await served.ask("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        found = {(one.name, *one.labels.values()): one.value for one in samples(answer.text)}
        assert found["replicator_resp_commands_total", "GET"] == 7.0
        assert found["replicator_write_gate_open",] == 1.0
        assert found["replicator_store_failed",] == 0.0
        assert found["replicator_members",] == 1.0
        disk = found["replicator_disk_free_bytes",]
        assert disk > 0
        (info,) = [one.labels for one in samples(answer.text) if one.name == "replicator_info"]
        assert info == {
            "name": "a",
            "origin": served.replica.origin,
            "version": software_version(),
        }
        accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
        answer = await served.ask("/metrics", headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert list(openmetrics.text_string_to_metric_families(answer.text))


async def test_they_tell_what_has_happened(tmp_path: Path) -> None:
    async with conflicting(tmp_path, b"k", b"l") as (served, theirs):
        for number in range(10):
            theirs.put(b"%d" % number, b"v")
        assert await served.replica.synchronize(30)

        async def is_told() -> bool:
            return await value(served, "replicator_records_in_total") == 12.0

        await until(is_told)
        assert await value(served, "replicator_writes_total") == 2.0
        assert await value(served, "replicator_conflicts_total") == 2.0
        assert await value(served, "replicator_records_out_total") == 2.0
        assert await value(served, "replicator_peer_lag_entries", peer="b") is not None
        assert await value(served, "replicator_peer_connected", peer="b") == 1.0
        assert await value(served, "replicator_peer_lag_entries", peer="a") is None
        for name in ("bytes_in", "bytes_out", "rounds"):
            assert (await value(served, f"replicator_{name}_total") or 0) > 0

        async def is_counted() -> bool:
            return await value(served, "replicator_conflicts_open") == 2.0

        await until(is_counted)


async def test_the_histogram_counts_commits_and_only_while_it_is_asked_for(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        level = served.replica._engine.store.level
        served.replica.put(b"first", b"v")
        before = await value(served, "replicator_commit_seconds_count") or 0

        async def has_grown() -> bool:
            return (await value(served, "replicator_commit_seconds_count") or 0) >= before + 100

        for number in range(100):
            served.replica.put(b"%d" % number, b"v")
        await until(has_grown)
        text = (await served.ask("/metrics")).text
        buckets = [one for one in samples(text) if one.name == "replicator_commit_seconds_bucket"]
        counts = [one.value for one in buckets]
        assert counts == sorted(counts)
        assert buckets[-1].labels == {"le": "+Inf"}
        assert counts[-1] == await value(served, "replicator_commit_seconds_count")
        assert level.on_commit is not None
    assert level.on_commit is None


def member(name: str, origin: str = "a" * 16) -> MemberStatus:
    return MemberStatus(name, origin, False, True, True, (), 0, 0.0, 7, 1.5, "")


def test_nodes_with_one_name_are_told_apart() -> None:
    members = [member("x", "a" * 16), member("x", "b" * 16), member("y"), member("", "c" * 16)]
    assert list(named(members)) == [f"x ({'a' * 16})", f"x ({'b' * 16})", "y", "c" * 16]


@pytest.mark.parametrize(
    "name", ['"} 1\nevil_metric 2\n#', "a\\", 'quo"te', "\x1b[31m", "näme", "{}", "x" * 5000]
)
async def test_a_name_stays_within_its_label(name: str, tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        view = await served.server._watch.look()
        strange = member(name, "b" * 16)
        text, _ = render(replace(view, members=(strange,)), "")
        names = {one.name for one in samples(text.decode())}
        assert names and not any("evil" in one for one in names)
        (lag,) = [
            one for one in samples(text.decode()) if one.name == "replicator_peer_lag_seconds"
        ]
        assert lag.value == 1.5 and len(lag.labels["peer"]) < 400


async def test_of_many_nodes_the_first_have_metrics_of_their_own(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        view = await served.server._watch.look()
        many = tuple(member(f"n{number}", f"{number:016x}") for number in range(5000))
        text, _ = render(replace(view, members=many), "")
        assert text.count(b"replicator_peer_connected{") == NODES_SHOWN_MAX
        assert b"replicator_members 5000.0" in text


async def test_a_failed_store_is_told(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        level = served.replica._engine.store.level
        level.fail("a test failed it")

        async def is_told() -> bool:
            return await value(served, "replicator_store_failed") == 1.0

        await until(is_told)
        level.failed = None
        level.commit_failures += 1

        async def is_counted() -> bool:
            return await value(served, "replicator_commit_failures_total") == 1.0

        await until(is_counted)
