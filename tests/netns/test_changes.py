"""Networks that change under the nodes: links that fail, addresses that are replaced."""

from collections.abc import Sequence

import pytest

from tests.cli.daemons import until
from tests.netns.network import Network
from tests.netns.sites import Plan, Site, Sites, until_equal

pytestmark = [pytest.mark.netns, pytest.mark.processes]


def until_alone(side: Sequence[Site]) -> None:
    """Wait until nobody of a side talks to anyone else."""
    names = {site.name for site in side}
    until(lambda: all(site.connected() <= names for site in side))


def test_a_partition_that_heals(network: Network, sites: Sites) -> None:
    """Two switches, two nodes at each; the cable between them fails while both sides write."""
    left, right = network.switch("left"), network.switch("right")
    _, trunk = left.cable(right)
    addresses = {name: f"10.4.0.{number}" for number, name in enumerate("abcd", 1)}
    plans = []
    for name, address in addresses.items():
        host = network.host(name)
        host.plug(left if name in "ab" else right, f"{address}/24")
        plans.append(
            Plan(host, address, [other for other in addresses.values() if other < address])
        )
    nodes = sites.start(*plans)
    a, b, c, d = nodes
    a.put("contested", "before")
    until_equal(nodes)
    until(lambda: c.get("contested") == "before")

    left.cut(trunk)
    a.put("contested", "left")
    d.put("contested", "right")
    b.put("of b", "left")
    c.put("of c", "right")
    for side in ((a, b), (c, d)):
        until_equal(side)
        until_alone(side)
    assert [site.get("contested") for site in nodes] == ["left", "left", "right", "right"]
    assert [site.get("of b") for site in nodes] == ["left", "left", None, None]
    assert [site.get("of c") for site in nodes] == [None, None, "right", "right"]

    left.heal(trunk)
    until_equal(nodes)
    for site in nodes:
        assert site.get("of b") == "left"
        assert site.get("of c") == "right"
    shown = {site.get("contested") for site in nodes}
    assert len(shown) == 1 and shown <= {"left", "right"}
    conflicts = a.conflicts()
    assert [conflict["key"] for conflict in conflicts] == ["contested"]
    assert {version["value"] for version in conflicts[0]["versions"]} == {"left", "right"}
    assert all(site.conflicts() == conflicts for site in nodes)


def test_a_node_whose_address_is_replaced_while_it_runs(network: Network, sites: Sites) -> None:
    """It dials whom it was told of, and is dialled where it was reached: once all know each other,
    a new address needs no telling."""
    switch = network.switch("switch")
    hub, moving, other = (network.host(name) for name in ("hub", "moving", "other"))
    hub.plug(switch, "10.5.0.1/24")
    interface = moving.plug(switch, "10.5.0.2/24")
    other.plug(switch, "10.5.0.3/24")
    at_hub, mover, behind = nodes = sites.start(
        Plan(hub, "10.5.0.1"),
        Plan(moving, "0.0.0.0", ["10.5.0.1"]),
        Plan(other, "10.5.0.3", ["10.5.0.2"]),
    )
    at_hub.put("first", "of the hub")
    until(lambda: all(len(site.connected()) == 2 for site in nodes))
    until(lambda: behind.get("first") == "of the hub")

    moving.move(interface, "10.5.0.2/24", "10.5.0.22/24")
    mover.put("second", "from the new address")
    until(lambda: at_hub.get("second") == "from the new address")
    at_hub.put("third", "to the new address")
    until(lambda: mover.get("third") == "to the new address")
    until(lambda: "moving" in behind.connected())
    until_equal(nodes)


def test_a_static_peer_under_its_new_address(network: Network, sites: Sites) -> None:
    """Who only ever dials the address that it was given comes back when it is given the new one."""
    switch = network.switch("switch")
    moving, other = network.host("moving"), network.host("other")
    interface = moving.plug(switch, "10.5.1.2/24")
    other.plug(switch, "10.5.1.3/24")
    mover, dialler = sites.start(
        Plan(moving, "0.0.0.0", dial_members=False),
        Plan(other, "10.5.1.3", ["10.5.1.2"], dial_members=False),
    )
    mover.put("k", "old address")
    until(lambda: dialler.get("k") == "old address")

    moving.move(interface, "10.5.1.2/24", "10.5.1.22/24")
    mover.put("k", "new address")
    until(lambda: not dialler.connected() and not mover.connected())
    assert dialler.get("k") == "old address"
    dialler.end()
    (dialler,) = sites.start(Plan(other, "10.5.1.3", ["10.5.1.22"], dial_members=False))
    until(lambda: dialler.get("k") == "new address")
    dialler.put("answer", "to the new address")
    until(lambda: mover.get("answer") == "to the new address")
    assert mover.conflicts() == dialler.conflicts() == []
