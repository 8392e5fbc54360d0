"""On which addresses multicast is used, and which are announced."""

from collections.abc import Sequence

import pytest

from replicator.config import MULTICAST_ADDRESSES_MAX, MULTICAST_INTERFACES_MAX
from replicator.net.discovery import interfaces
from replicator.net.discovery.interfaces import make_plan
from replicator.net.discovery.pace import LookError

MACHINE = {
    "127.0.0.1": "lo",
    "::1": "lo",
    "fe80::1": "eth0",
    "10.0.0.1": "eth0",
    "fd00::1": "eth0",
    "10.0.1.1": "eth1",
}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    machine = dict(MACHINE)
    monkeypatch.setattr(interfaces, "_machine_addresses", lambda: iter(machine.items()))
    return machine


@pytest.mark.parametrize(
    ("chosen", "host", "used", "announced"),
    [
        (None, None, ["127.0.0.1"], []),
        (None, "127.0.0.1", ["127.0.0.1"], ["127.0.0.1"]),
        (None, "127.0.0.2", ["127.0.0.1"], ["127.0.0.2"]),
        (None, "::1", ["127.0.0.1"], ["::1"]),
        (None, "10.0.0.1", ["10.0.0.1"], ["10.0.0.1"]),
        (None, "fd00::1", ["fd00::1"], ["fd00::1"]),
        (None, "0.0.0.0", ["10.0.0.1", "10.0.1.1", "127.0.0.1"], ["10.0.0.1", "10.0.1.1"]),
        (None, "::", ["10.0.0.1", "10.0.1.1", "fd00::1", "127.0.0.1"], ["fd00::1"]),
        (["eth1"], "0.0.0.0", ["10.0.1.1"], ["10.0.1.1"]),
        (["eth0"], "0.0.0.0", ["10.0.0.1", "fd00::1"], ["10.0.0.1"]),
        (["10.0.1.1", "eth1"], "10.0.0.1", ["10.0.1.1"], ["10.0.0.1"]),
        (["lo"], "0.0.0.0", ["127.0.0.1"], ["127.0.0.1"]),
        (["::1"], None, ["127.0.0.1"], []),
    ],
)
def test_a_plan(
    chosen: Sequence[str] | None, host: str | None, used: list[str], announced: list[str]
) -> None:
    plan = make_plan(chosen, host)
    assert sorted(plan.interfaces) == sorted(used)
    assert list(plan.announced) == announced
    assert plan.is_local == (used == ["127.0.0.1"])


def test_a_machine_with_nothing_but_itself(machine: dict[str, str]) -> None:
    machine.clear()
    machine["127.0.0.1"] = "lo"
    assert make_plan(None, "0.0.0.0").announced == ("127.0.0.1",)


def test_a_machine_without_addresses(machine: dict[str, str]) -> None:
    machine.clear()
    with pytest.raises(LookError, match="no network interface is up"):
        make_plan(None, "0.0.0.0")


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(
        LookError, match="no interface or address 'wlan0'; write one of eth0, eth1, lo"
    ):
        make_plan(["wlan0"], "0.0.0.0")


def test_a_machine_with_very_many_addresses(machine: dict[str, str]) -> None:
    machine |= {f"10.2.{number}.1": f"br{number}" for number in range(100)}
    plan = make_plan(None, "0.0.0.0")
    assert len(plan.interfaces) == MULTICAST_INTERFACES_MAX
    assert len(plan.announced) == MULTICAST_ADDRESSES_MAX
    assert "127.0.0.1" in plan.interfaces


def test_what_cannot_be_joined_is_named() -> None:
    fine, faults = interfaces.usable(["127.0.0.1", "203.0.113.9"])
    assert fine == ["127.0.0.1"]
    assert faults == ["203.0.113.9: Cannot assign requested address"]
