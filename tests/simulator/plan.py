"""What a seed stands for: the cluster, its habits, and which faults may strike it.

Each seed switches a random half of the faults on (swarm testing): a run with all of them at once
hides bugs that need quiet between two of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from replicator.config import Settings
from replicator.core.record import Version
from replicator.core.resolve import Resolver, ResolverMode, default_resolver

TOPOLOGIES = ("line", "ring", "star", "mesh", "tree")
FAULTS = (
    "cut",  # connections break
    "partition",  # links go down for a while
    "kill",  # processes die, now or between two commits
    "power",  # machines die, now or between two commits
    "restore",  # a directory is replaced by an older copy
    "rollback",  # a machine goes back to a snapshot
    "newcomer",  # a node joins late, with nothing
    "absence",  # a node is away for most of the run
    "full disk",  # commits fail
    "skew",  # clocks are years off
    "slow",  # a node or a link is slow
    "collect",  # tombstones are collected
    "burst",  # one node writes a lot before the first contact
)
_YEAR_MS = 365 * 86_400_000


@dataclass(frozen=True, slots=True)
class Profile:
    """How large runs are.

    Attributes:
        nodes: fewest and most nodes.
        keys: fewest and most keys.
        writes: fewest and most writes.
        seconds: how long writes and faults go on, in virtual time.
        faults: how many faults strike, at most.
        burst: writes before the first contact, where the seed has that.
    """

    nodes: tuple[int, int]
    keys: tuple[int, int]
    writes: tuple[int, int]
    seconds: float
    faults: int
    burst: int


PROFILES = {
    "small": Profile((2, 3), (1, 2), (4, 14), 4.0, 3, 20),
    "default": Profile((2, 5), (1, 5), (10, 60), 8.0, 8, 130),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        random: for everything that is decided on the way.
        topology, names: who is linked with whom.
        keys: all keys.
        writes: how many.
        faults: which kinds are on.
        skew_ms: per node, how far its wall clock is off.
        slow: names of slow nodes.
        resolver, mode: as users configure them, the same everywhere.
        chunk_records: the most records of a chunk.
        switch: chance of a memtable switch per commit.
    """

    seed: int
    profile: Profile
    random: Random
    topology: str
    names: list[str]
    keys: list[bytes]
    writes: int
    faults: frozenset[str]
    skew_ms: dict[str, int]
    slow: frozenset[str]
    resolver: Resolver
    resolver_name: str
    mode: ResolverMode
    settings: Settings
    chunk_records: int
    switch: float

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.topology} of {len(self.names)}, {len(self.keys)} keys, "
            f"{self.writes} writes, resolver {self.resolver_name} ({self.mode}), rounds atomic up "
            f"to {self.settings.atomic_round_bytes} bytes, {self.chunk_records} records a chunk; "
            f"faults: {', '.join(sorted(self.faults)) or 'none'}"
        )


def make(seed: int, profile_name: str = "default") -> Plan:
    """The plan of a seed: always the same."""
    random = Random(f"{profile_name} {seed}")
    profile = PROFILES[profile_name]
    faults = frozenset(fault for fault in FAULTS if random.random() < _chance(fault))
    names = [chr(ord("A") + i) for i in range(random.randint(*profile.nodes))]
    resolver_name = random.choice(list(RESOLVERS))
    return Plan(
        seed=seed,
        profile=profile,
        random=random,
        topology=random.choice(TOPOLOGIES),
        names=names,
        keys=[b"k%d" % i for i in range(random.randint(*profile.keys))],
        writes=random.randint(*profile.writes),
        faults=faults,
        skew_ms={name: _skew(random) if "skew" in faults else 0 for name in names},
        slow=frozenset(random.sample(names, 1) if "slow" in faults else ()),
        resolver=RESOLVERS[resolver_name],
        resolver_name=resolver_name,
        mode=random.choice(("concurrent", "concurrent", "equal-clock")),
        settings=_settings(random),
        chunk_records=random.choice((1, 1, 2, 5)),
        switch=random.choice((0.0, 0.1, 0.5)),
    )


def _chance(fault: str) -> float:
    return {"burst": 0.1, "full disk": 0.3, "newcomer": 0.3, "collect": 0.7}.get(fault, 0.45)


def _skew(random: Random) -> int:
    return random.choice((0, 1, -1)) * random.choice((1000, 60_000, _YEAR_MS, 10 * _YEAR_MS))


def _settings(random: Random) -> Settings:
    return Settings(
        cluster="simulated",
        linger=random.choice((0.2, 1.0)),
        keepalive=1.0,
        connect_timeout=1.0,
        reask_timeout=random.choice((0.3, 1.5)),
        atomic_round_bytes=random.choice((0, 100, 400, 64 << 10)),
    )


def rock_paper_scissors(a: Version, b: Version) -> bool:
    """Not transitive: by the first letter of the value, a delete is the weakest."""
    if a.value is None or b.value is None:
        return b.value is None
    return (a.value[:1], b.value[:1]) in {(b"P", b"R"), (b"S", b"P"), (b"R", b"S")}


def both(a: Version, b: Version) -> bytes:
    """Merges: the letters of both values, sorted, each once."""
    parts = {part for version in (a, b) for part in (version.value or b"").split(b"+")}
    return b"+".join(sorted(parts))


RESOLVERS: dict[str, Callable[[Version, Version], bool | bytes]] = {
    "default": default_resolver,
    "rock-paper-scissors": rock_paper_scissors,
    "both": both,
}
