"""Subnets, routers and grids: nodes that reach some of the others, and data that reaches all."""

import pytest

from tests.cli.daemons import until
from tests.netns.network import Host, Network
from tests.netns.sites import Plan, Sites, until_equal

pytestmark = [pytest.mark.netns, pytest.mark.processes]

SIDE = 3
RECORDS = 2000


def test_two_subnets_with_static_peers_only(network: Network, sites: Sites) -> None:
    """A router between them, one pair of nodes that dial across it, one node behind each."""
    left, right = network.switch("left"), network.switch("right")
    router = network.host("router")
    router.plug(left, "10.1.0.254/24")
    router.plug(right, "10.2.0.254/24")
    router.forward()
    hosts = {}
    for name, switch, subnet, beyond in (
        ("a", left, "10.1.0", "10.2.0"),
        ("b", left, "10.1.0", "10.2.0"),
        ("c", right, "10.2.0", "10.1.0"),
        ("d", right, "10.2.0", "10.1.0"),
    ):
        hosts[name] = network.host(name)
        hosts[name].plug(switch, f"{subnet}.{ord(name)}/24")
        hosts[name].route(f"{beyond}.0/24", f"{subnet}.254")
    nodes = sites.start(
        Plan(hosts["a"], "10.1.0.97"),
        Plan(hosts["b"], "10.1.0.98", ["10.1.0.97"]),
        Plan(hosts["c"], "10.2.0.99", ["10.1.0.97"]),
        Plan(hosts["d"], "10.2.0.100", ["10.2.0.99"]),
    )
    a, b, c, d = nodes
    until(lambda: "c" in a.connected())
    b.put("from b", "left")
    until(lambda: d.get("from b") == "left")
    d.put("from d", "right")
    until(lambda: b.get("from d") == "right")
    until_equal(nodes)
    assert c.get("from b") == "left"
    assert all(site.conflicts() == [] for site in nodes)


def edges() -> list[tuple[int, int]]:
    """Of the grid, its places counted row by row."""
    across = [(n, n + 1) for n in range(SIDE * SIDE) if (n + 1) % SIDE]
    down = [(n, n + SIDE) for n in range(SIDE * (SIDE - 1))]
    return across + down


def test_a_grid_of_nine_fed_at_a_corner(network: Network, sites: Sites) -> None:
    """Every cable is a subnet of its own and nobody forwards: neighbours see each other only."""
    hosts: list[Host] = [network.host(name) for name in "ABCDEFGHI"]
    peers: dict[int, list[str]] = {place: [] for place in range(len(hosts))}
    neighbours: dict[int, set[str]] = {place: set() for place in range(len(hosts))}
    for number, (one, other) in enumerate(edges()):
        hosts[one].link_to(hosts[other], f"10.3.{number}.1/30", f"10.3.{number}.2/30")
        peers[one].append(f"10.3.{number}.2")
        peers[other].append(f"10.3.{number}.1")
        neighbours[one].add(hosts[other].name)
        neighbours[other].add(hosts[one].name)
    plans = [Plan(host, "0.0.0.0", peers[place]) for place, host in enumerate(hosts)]
    nodes = sites.start(*plans)
    nodes[0].load(b"".join(b"key%04d\tvalue %d\n" % (n, n) for n in range(RECORDS)))
    until(lambda: nodes[-1].get(f"key{RECORDS - 1}") == f"value {RECORDS - 1}")
    until_equal(nodes)
    nodes[-1].put("answer", "from the other end")
    until(lambda: nodes[0].get("answer") == "from the other end")
    met = [site.connected() for site in nodes]
    assert all(met), met
    assert all(names <= neighbours[place] for place, names in enumerate(met)), met
