"""Random worlds of two to four parties: writes, deletes, cuts, late and returning nodes.

Whatever happens in between, in the end everybody knows and shows the same; and at no moment does
anybody claim to know what it does not hold (`tests.protocol.model`). A failing seed is played
again by ``pytest -k 'converge[SEED]'``.
"""

from random import Random

import pytest

from replicator.config import Settings
from replicator.core.record import Version
from tests.protocol.world import Party, World

SEEDS = range(80)


class Story:
    """One seed's world and what happens in it.

    Attributes:
        members: those whose knowledge collecting waits for (R8).
        absent: a node that is away, and forgotten, from some moment on; or a new one.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        choice = self.random.choice
        settings = Settings(
            atomic_round_bytes=choice([0, 200, 100_000]),
            linger=choice([0.05, 1.0]),
            reask_timeout=choice([0.05, 0.5, 3.0]),
            keepalive=1.0,
            connect_timeout=2.0,
        )
        sizes = [choice([1, 2, 50]) for _ in range(choice([2, 3, 3, 4]))]
        self.world = World(seed, sizes, settings)
        self.keys = [b"key-%d" % number for number in range(choice([2, 5, 20]))]
        self.members = list(self.world.parties)
        self.absent: Party | None = None

    def act(self) -> None:
        """One thing that people or machines do, or a few steps of what goes on by itself."""
        world, random = self.world, self.random
        match random.choices(
            ["write", "connect", "cut", "collect", "wait", "steps"], [15, 5, 1, 3, 1, 75]
        ):
            case ["write"]:
                value = None if random.random() < 0.3 else b"%d" % random.randrange(100)
                random.choice(self.members).write(random.choice(self.keys), value)
            case ["connect"] if len(self.members) > 1:
                a, b = random.sample(self.members, 2)
                if not world.connected(a, b):
                    world.connect(a, b)
            case ["cut"] if world.links:
                world.cut(random.choice(world.links))
            case ["collect"]:
                stores = [party.store for party in self.members]
                random.choice(stores).collect(stores)
            case ["wait"]:
                world.now += random.choice([0.01, 0.1, 1])
            case _:
                for _ in range(random.choice([1, 5, 20])):
                    world.step()

    def leave(self) -> None:
        """The last node goes away; what it has not told nobody knows."""
        self.absent = self.members.pop()
        for link in list(self.world.links):
            if self.absent in (link[0].party, link[1].party):
                self.world.cut(link)

    def come_back(self) -> None:
        """A forgotten node that returns takes a new origin (R10)."""
        assert self.absent is not None
        self.absent.store.origin = self.random.getrandbits(64)
        self.absent.store.shown = 0
        self.members.append(self.absent)

    def heal(self) -> None:
        """A line of nodes, cut now and then, until everything has got through."""
        world, random = self.world, self.random
        for _ in range(4):
            for a, b in zip(self.members, self.members[1:], strict=False):
                if not world.connected(a, b):
                    world.connect(a, b)
                for _ in range(random.choice([0, 30])):
                    world.step()
                if world.links and random.random() < 0.3:
                    world.cut(random.choice(world.links))
            world.settle()
        for _ in range(2 * len(self.members)):
            for a, b in zip(self.members, self.members[1:], strict=False):
                world.connect(a, b)
                world.settle()


def play(seed: int, kind: type[Story] = Story) -> Story:
    story = kind(seed)
    steps = story.random.choice([100, 300, 600])
    leaves_at = story.random.choice([0, 10, 50, steps])
    for step in range(steps):
        if step == leaves_at:
            story.leave()
        story.act()
    if story.absent is not None:
        story.come_back()
    story.heal()
    return story


def live_puts(party: Party) -> dict[bytes, list[Version]]:
    """Per key. Deletes are left out: they may be collected here and not yet there, and beside a
    put of a node that was forgotten meanwhile they stay until R16 finds them."""
    puts = {
        key: [version for version in record.versions if not version.is_delete]
        for key, record in party.store.records.items()
    }
    return {key: versions for key, versions in puts.items() if versions}


@pytest.mark.parametrize("seed", SEEDS)
def test_all_converge(seed: int) -> None:
    check_converged(play(seed))


def check_converged(story: Story) -> None:
    parties = story.world.parties
    for party in parties:
        assert party.store.known == parties[0].store.known
        assert live_puts(party) == live_puts(parties[0])
        assert not party.store.full_round_open
        assert party.pulls.pending == 0


def test_the_seeds_reach_what_they_are_meant_to_reach() -> None:
    reports = [
        report
        for seed in SEEDS[:40]
        for party in play(seed).world.parties
        for report in party.reports
    ]
    rounds = [report for report in reports if report.kind == "round"]
    assert sum(report.full for report in rounds) > 5
    assert sum(report.records > 8 for report in rounds) > 5
    assert sum(report.records == 0 for report in rounds) > 2, "no claim without records"
