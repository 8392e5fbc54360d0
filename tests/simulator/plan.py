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

TOPOLOGIES = ("line", "ring", "star", "mesh", "tree", "grid")
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
    "slow",  # some processes and some links are slow
    "collect",  # tombstones are collected
    "forget",  # a person forgets members that are down
    "gone",  # a node is gone for good
    "burst",  # one node writes a lot before the first contact
)
CLOCK_JUMP_CHANCE = 0.25
"""How often clocks are set forward or back on the way: "clock jump"."""

VERSIONS_CHANCE = 0.2
"""How often nodes are of several versions, drawn apart from the faults above: "versions"."""

_YEAR_MS = 365 * 86_400_000


@dataclass(frozen=True, slots=True)
class Profile:
    """How large runs are, and what they dwell on.

    Attributes:
        about: what for, in a line.
        nodes: fewest and most nodes.
        keys: fewest and most keys.
        writes: fewest and most writes.
        seconds: how long writes and faults go on, in virtual time.
        faults: how many faults strike, at most.
        burst: writes before the first contact, where the seed has that.
        always: faults that every seed has.
        others: by how much less likely the other faults are.
        topologies: which ones.
        atomic: choices for `atomic_round_bytes`.
        sync: choices for the longest pause between two sync points of a node, in seconds.
        deletes: choices for the chance of a write to be a delete.
        dwell: longest time that a stretch of a full-state round takes to be applied, in seconds.
        full_cuts: chance that its link goes down for a while behind one.
        wipes: chance that a directory comes back empty where an older copy is put in place.
        fresh: chance that a copy is made right behind a write that is synced and not yet shown.
        eager: whether every node collects, and often.
        digests: seconds between two comparisons of digests (R16); 0 for none.
        rots: most records that a node loses behind its own back.
        outsiders: whether deletes are collected although a node that is no member may have a
            concurrent write (R10).
        leaves: chance that who is in the middle of sending a round goes away for a while, and is
            forgotten by then.
    """

    about: str
    nodes: tuple[int, int]
    keys: tuple[int, int]
    writes: tuple[int, int]
    seconds: float
    faults: int
    burst: int
    always: tuple[str, ...] = ()
    others: float = 1.0
    topologies: tuple[str, ...] = TOPOLOGIES
    atomic: tuple[int, ...] = (0, 100, 400, 64 << 10)
    sync: tuple[float, ...] = (0.3, 2.0, 4.0)
    deletes: tuple[float, ...] = (0.2, 0.3, 0.5)
    dwell: float = 0.0
    full_cuts: float = 0.0
    wipes: float = 0.0
    fresh: float = 0.0
    eager: bool = False
    digests: float = 0.0
    rots: int = 0
    outsiders: bool = False
    leaves: float = 0.0


PROFILES = {
    "default": Profile("everything", (2, 5), (1, 5), (10, 60), 8.0, 8, 130),
    "small": Profile("short transcripts", (2, 3), (1, 2), (4, 14), 4.0, 3, 20),
    "durability": Profile(
        "power cuts, forks", (2, 3), (2, 4), (15, 40), 6.0, 10, 30, ("power", "rollback")
    ),
    "collecting": Profile(
        "tombstones that are gone, and nodes that missed them",
        (3, 4),
        (3, 6),
        (20, 50),
        6.0,
        8,
        20,
        ("collect", "restore", "slow"),
        0.5,
        atomic=(0, 100),
        sync=(0.3,),
        deletes=(0.4, 0.6),
    ),
    "returns": Profile(
        "old directories that come back, full-state rounds that are cut or take their time",
        (3, 3),
        (4, 6),
        (25, 50),
        6.0,
        4,
        20,
        ("collect", "restore"),
        0.15,
        topologies=("line",),
        atomic=(0, 100),
        sync=(0.3,),
        deletes=(0.3, 0.5),
        dwell=0.3,
        full_cuts=0.2,
        wipes=0.25,
        eager=True,
    ),
    "forks": Profile(
        "machines that are rolled back to what they had synced and not shown, amid power cuts",
        (2, 3),
        (2, 4),
        (15, 40),
        6.0,
        10,
        30,
        ("power", "rollback"),
        0.25,
        sync=(4.0,),
        fresh=0.8,
    ),
    "forgets": Profile(
        "members that are forgotten in the middle of a round, and come back",
        (3, 4),
        (3, 6),
        (25, 45),
        6.0,
        4,
        20,
        ("forget", "collect"),
        0.25,
        atomic=(0,),
        sync=(0.3,),
        deletes=(0.2, 0.4),
        eager=True,
        leaves=0.04,
    ),
    "expiry": Profile(
        "values that expire, wall clocks that are off and jump",
        (2, 4),
        (1, 4),
        (15, 40),
        6.0,
        6,
        20,
        ("expiry", "collect"),
        0.6,
        atomic=(0, 100),
        sync=(0.3,),
        deletes=(0.1, 0.3),
    ),
    "resolvers": Profile(
        "nodes that are given another resolver, and die while they look at everything again",
        (2, 3),
        (3, 6),
        (20, 40),
        6.0,
        12,
        20,
        ("resolver", "kill", "power", "partition"),
        0.0,
        atomic=(0, 100),
        sync=(4.0,),
        deletes=(0.1, 0.2),
    ),
    "damage": Profile(
        "records that can be read no more, and their repair",
        (2, 4),
        (2, 5),
        (15, 50),
        6.0,
        5,
        20,
        ("damage", "collect"),
        0.4,
        atomic=(0, 100),
        sync=(0.3, 2.0),
        deletes=(0.4, 0.6),
    ),
    "watching": Profile(
        "digests compared whatever happens: none differ",
        (2, 4),
        (1, 5),
        (10, 50),
        6.0,
        8,
        20,
        digests=0.3,
    ),
    "rot": Profile(
        "records that a node loses behind its own back, found by digests and mended",
        (2, 4),
        (2, 6),
        (10, 40),
        5.0,
        4,
        20,
        ("cut", "kill"),
        0.0,
        digests=0.3,
        rots=3,
    ),
    "outsiders": Profile(
        "collected deletes that meet a concurrent write of a node that is no member",
        (3, 4),
        (2, 5),
        (20, 50),
        6.0,
        6,
        20,
        ("collect", "restore", "newcomer"),
        0.3,
        sync=(0.3,),
        deletes=(0.4, 0.6),
        eager=True,
        digests=0.3,
        outsiders=True,
    ),
    "amid": Profile(
        "old directories that come back together, one of them in the middle of full-state rounds",
        (3, 3),
        (6, 10),
        (40, 70),
        6.0,
        0,
        20,
        ("collect", "restore"),
        0.0,
        topologies=("mesh",),
        atomic=(0, 100),
        sync=(0.3,),
        deletes=(0.4, 0.5),
        dwell=0.4,
        eager=True,
    ),
    "crowd": Profile(
        "many conversations at once",
        (4, 16),
        (1, 3),
        (30, 60),
        5.0,
        8,
        30,
        ("slow", "cut"),
        atomic=(0, 100),
    ),
    "versions": Profile(
        "nodes of the version before, upgraded one by one",
        (2, 4),
        (2, 5),
        (20, 60),
        8.0,
        8,
        40,
        ("versions", "collect", "forget"),
    ),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        random: for everything that is decided on the way.
        dice: the same for full-state rounds, apart, so that other runs stay the runs they are.
        backup_dice: the same for backups.
        topology, names: who is linked with whom.
        keys: all keys.
        writes: how many.
        faults: which kinds are on.
        skew_ms: per node, how far its wall clock is off.
        resolver, mode: as users configure them, the same everywhere in the end.
        chunk_records: the most records of a chunk.
        deletes: chance of a write to be a delete.
        sync_interval: longest pause between two sync points of a node, in seconds.
        collect_intervals: the same between two attempts to collect, for nodes that ever do.
        switch: chance of a memtable switch per commit.
    """

    seed: int
    profile: Profile
    random: Random
    dice: Random
    backup_dice: Random
    topology: str
    names: list[str]
    keys: list[bytes]
    writes: int
    faults: frozenset[str]
    skew_ms: dict[str, int]
    resolver: Resolver
    resolver_name: str
    mode: ResolverMode
    settings: Settings
    chunk_records: int
    deletes: float
    sync_interval: float
    collect_intervals: dict[str, float]
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
    faults = frozenset(
        fault
        for fault in FAULTS
        if random.random() < _chance(fault) * profile.others or fault in profile.always
    )
    if Random(f"{profile_name} {seed} clock jump").random() < CLOCK_JUMP_CHANCE:
        faults |= {"clock jump"}
    faults |= {"damage", "expiry", "resolver"} & set(profile.always)
    if "damage" in faults:
        # What a repair forgot, and nobody but a forgotten member holds, is closed (R10): that one
        # brings back what was deleted since.
        faults -= {"forget"}
    if "expiry" in faults:  # R8 takes the clocks of all that take part at their word
        faults -= {"forget", "gone", "newcomer", "skew", "restore", "rollback", "clock jump"}
    # The version before finds no differences, so there they are not mended everywhere.
    are_mixed = Random(f"{seed} versions").random() < VERSIONS_CHANCE
    are_mixed = are_mixed and not (profile.rots or profile.outsiders)
    if "versions" in profile.always or are_mixed:
        faults |= {"versions"}
    names = [chr(ord("A") + i) for i in range(random.randint(*profile.nodes))]
    resolver_name = random.choice(list(RESOLVERS))
    return Plan(
        seed=seed,
        profile=profile,
        random=random,
        dice=Random(f"{profile_name} {seed} full-state rounds"),
        backup_dice=Random(f"{profile_name} {seed} backups"),
        topology=random.choice(profile.topologies),
        names=names,
        keys=[b"k%d" % i for i in range(random.randint(*profile.keys))],
        writes=random.randint(*profile.writes),
        faults=faults,
        skew_ms={name: _skew(random) if "skew" in faults else 0 for name in names},
        resolver=RESOLVERS[resolver_name],
        resolver_name=resolver_name,
        mode=random.choice(("concurrent", "concurrent", "equal-clock")),
        settings=_settings(random, profile),
        chunk_records=random.choice((1, 1, 2, 5)),
        deletes=random.choice(profile.deletes),
        sync_interval=random.choice(profile.sync),
        collect_intervals=_collect_intervals(random, names, profile) if "collect" in faults else {},
        switch=random.choice((0.05, 0.2, 0.4)),
    )


def _chance(fault: str) -> float:
    rare = {"burst": 0.1, "full disk": 0.3, "newcomer": 0.3, "gone": 0.25, "collect": 0.7}
    return rare.get(fault, 0.45)


def _collect_intervals(random: Random, names: list[str], profile: Profile) -> dict[str, float]:
    """Some nodes collect often, some seldom, some never: so one has what others have no more."""
    if profile.eager:
        return dict.fromkeys(names, 0.2)
    intervals = {name: random.choice((0.2, 0.2, 1.0, None, None)) for name in names}
    return {name: interval for name, interval in intervals.items() if interval is not None}


def _skew(random: Random) -> int:
    return random.choice((0, 1, -1)) * random.choice((1000, 60_000, _YEAR_MS, 10 * _YEAR_MS))


def _settings(random: Random, profile: Profile) -> Settings:
    return Settings(
        cluster="simulated",
        linger=random.choice((0.2, 1.0)),
        keepalive=1.0,
        connect_timeout=1.0,
        reask_timeout=random.choice((0.3, 1.5)),
        atomic_round_bytes=random.choice(profile.atomic),
        digest_interval=profile.digests,
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
