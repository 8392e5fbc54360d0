"""Real multicast: nodes that find each other on a bridge, with no address told to anyone."""

import pytest

from tests.cli.daemons import until
from tests.netns.network import Network
from tests.netns.sites import Plan, Sites, until_equal

pytestmark = [pytest.mark.netns, pytest.mark.processes]


def test_three_hosts_find_each_other_and_one_that_moved(network: Network, sites: Sites) -> None:
    switch = network.switch("switch")
    plans, interfaces = {}, {}
    for number, name in enumerate("abc", 1):
        host = network.host(name)
        interfaces[name] = host.plug(switch, f"10.6.0.{number}/24")
        plans[name] = Plan(host, f"10.6.0.{number}", multicast=True)
    a, b, c = sites.start(*plans.values())
    until(lambda: all(len(site.connected()) == 2 for site in (a, b, c)))
    a.put("k", "found")
    until(lambda: b.get("k") == c.get("k") == "found")

    c.end()
    b.put("k", "while c was away")
    host = plans["c"].host
    host.move(interfaces["c"], "10.6.0.3/24", "10.6.0.33/24")
    (c,) = sites.start(Plan(host, "10.6.0.33", multicast=True))
    until(lambda: c.get("k") == "while c was away")
    c.put("again", "from the new address")
    until(lambda: a.get("again") == b.get("again") == "from the new address")
    until_equal([a, b, c])
