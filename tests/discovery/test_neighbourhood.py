"""What is made of announcements, without a network."""

from collections.abc import Sequence

import pytest

from replicator.config import MULTICAST_SERVICES_MAX
from replicator.net.address import Address
from replicator.net.discovery.announcement import SERVICE_TYPE, txt_of
from replicator.net.discovery.interfaces import Plan
from replicator.net.discovery.neighbourhood import FAULT_SECONDS, FAULTS_MAX, Neighbourhood
from replicator.net.discovery.provider import Advert

ADVERT = Advert("default", "one", 1, Address("10.0.0.1", 9000))
PLAN = Plan(("10.0.0.1",), ("10.0.0.1",), frozenset({"10.0.0.1", "127.0.0.1"}), False)


class Street:
    """A neighbourhood, and how often it changed."""

    def __init__(self) -> None:
        self.changes = 0
        self.all = Neighbourhood(ADVERT, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def hear(self, number: int, hosts: Sequence[str] = ("10.0.0.2",), port: int = 9000) -> None:
        advert = Advert("default", f"node {number}", 1000 + number, ADVERT.address)
        txt: dict[bytes, bytes | None] = {
            key.encode(): value for key, value in txt_of(advert).items()
        }
        self.all.hear(self.name(number), txt, port, hosts, PLAN)

    def hear_nonsense(self, number: int) -> None:
        self.all.hear(self.name(number), {}, 9000, ["10.0.0.2"], PLAN)

    @staticmethod
    def name(number: int) -> str:
        return f"{number}.{SERVICE_TYPE}"

    @property
    def addresses(self) -> set[str] | None:
        found = self.all.view.addresses
        return None if found is None else {str(one) for one in found}


@pytest.fixture
def street() -> Street:
    street = Street()
    street.all.begin(None)
    return street


def test_nothing_is_known_until_everybody_could_answer(street: Street) -> None:
    assert street.addresses is None
    street.all.settle(1.0, None, is_late=False)
    assert street.addresses == set()


def test_another_cluster_on_the_network_is_told_once_and_no_trouble(
    street: Street, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="replicator")
    for number in range(3):
        txt: dict[bytes, bytes | None] = {b"cluster": b"the other's \x1b[2J"}
        street.all.hear(street.name(number), txt, 9000, ["10.0.0.2"], PLAN)
    street.all.settle(1.0, None, is_late=False)
    assert street.addresses == set()
    assert street.all.view.complaint is None
    (line,) = caplog.messages
    assert "nodes of different cluster names never talk" in line
    assert "\x1b" not in line


def test_a_change_is_told_once(street: Street) -> None:
    street.hear(1)
    street.hear(1)
    assert street.changes == 1
    street.all.settle(1.0, None, is_late=False)
    street.all.settle(2.0, None, is_late=True)
    assert street.changes == 2  # that everything works


def test_a_new_session_keeps_who_was_there_until_all_could_answer(street: Street) -> None:
    street.hear(1)
    street.hear(2, ("10.0.0.3",))
    street.all.begin(None)
    street.hear(1)
    street.all.settle(1.0, None, is_late=False)
    assert street.addresses == {"10.0.0.2:9000", "10.0.0.3:9000"}
    street.all.settle(2.0, None, is_late=True)
    assert street.addresses == {"10.0.0.2:9000"}


def test_nonsense_that_comes_and_goes_is_remembered_for_a_while(street: Street) -> None:
    street.hear_nonsense(1)
    told = street.all.view.complaint
    assert told is not None
    street.all.lose(street.name(1), now=10.0)
    street.all.settle(20.0, None, is_late=True)
    street.hear_nonsense(1)
    assert street.all.view.complaint == told
    street.all.lose(street.name(1), now=30.0)
    street.all.settle(31.0 + FAULT_SECONDS, None, is_late=True)
    assert street.all.view.complaint is None


def test_nonsense_put_right_is_no_complaint(street: Street) -> None:
    street.hear_nonsense(1)
    street.hear(1)
    assert street.all.view.complaint is None
    assert street.addresses == {"10.0.0.2:9000"}


def test_much_nonsense_is_one_bounded_text(street: Street) -> None:
    street.hear(0)
    texts = set()
    for number in range(1, 2 * FAULTS_MAX):
        street.hear_nonsense(number)
        texts.add(street.all.view.complaint)
    assert len(texts) == 3
    assert all(len(text or "") < 300 for text in texts)
    assert street.addresses == {"10.0.0.2:9000"}


def test_too_many_announcements(street: Street) -> None:
    for number in range(MULTICAST_SERVICES_MAX + 1):
        street.hear(number, (f"10.1.{number >> 8}.{number & 255}",))
    assert len(street.addresses or ()) == MULTICAST_SERVICES_MAX
    assert "rest is left out" in (street.all.view.complaint or "")
    street.all.lose(street.name(0), now=1.0)
    assert street.all.view.complaint is None


@pytest.mark.parametrize(
    ("plan", "reached"),
    [
        (PLAN, {"10.0.0.1", "10.9.9.9", "fd00::1"}),
        (
            Plan(("127.0.0.1",), (), frozenset({"10.0.0.1"}), True),
            {"127.0.0.1", "::1", "10.0.0.1"},
        ),
        (
            Plan(("10.0.0.1", "127.0.0.1"), (), frozenset({"10.0.0.1"}), False),
            {"10.0.0.1", "10.9.9.9", "fd00::1", "127.0.0.1", "::1"},
        ),
    ],
)
def test_what_a_node_can_dial(plan: Plan, reached: set[str]) -> None:
    announced = ["10.0.0.1", "10.9.9.9", "fd00::1", "127.0.0.1", "::1"]
    never = ["0.0.0.0", "::", "224.0.0.251", "ff02::fb", "fe80::1", "fe80::1%3"]
    assert {host for host in announced + never if plan.reaches(host)} == reached
