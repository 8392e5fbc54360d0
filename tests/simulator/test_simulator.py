"""Hundreds of seeds hold every invariant; each planted bug is found; a seed reproduces its run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .planted import BUGS
from .run import run

BLOCK = 20
CLEAN = {
    "default": 160,
    "small": 400,
    "durability": 100,
    "collecting": 60,
    "crowd": 20,
    "versions": 60,
    "returns": 40,
    "damage": 60,
    "expiry": 100,
    "forgets": 40,
    "forks": 40,
    "watching": 20,
    "rot": 40,
    "amid": 20,
    "outsiders": 20,
    "resolvers": 40,
}
"""Seeds run of each profile, from 0."""

SEEDS_MAX = 500
"""A planted bug is found within so many seeds, or the simulator is blind to it."""

PLANTED = {
    "scanned-range": ("default", 6),
    "repair-keeps-known": ("damage", 0),
    "repair-forgets-live-only": ("damage", 1),
    "repair-forgets-collected": ("damage", 155),
    "dropped-contexts": ("durability", 28),
    "known-ignored-in-merge": ("default", 14),
    "eager-discard": ("default", 1),
    "cursor-before-data": ("default", 0),
    "claim-ignores-withheld": ("default", 17),
    "claims-complete-each-other": ("collecting", 43),
    "floor-left-behind": ("collecting", 80),
    "log-only-catch-up": ("collecting", 13),
    "no-watermark": ("default", 4),
    "watermark-at-once": ("collecting", 255),
    "tombstone-beside-put": ("default", 5),
    "expiry-shows-losers": ("expiry", 0),
    "expiry-by-hybrid-clock": ("expiry", 0),
    "swept-for-good": ("expiry", 0),
    "expired-dropped-early": ("expiry", 0),
    "clock-adopted": ("default", 0),
    "clock-stays-ahead": ("default", 1),
    "clock-steps-back": ("default", 1),
    "dot-reused": ("default", 3),
    "copy-keeps-origin": ("default", 1),
    "known-survives-power-cut": ("default", 98),
    "floor-survives-power-cut": ("collecting", 0),
    "older-logs-unsynced": ("default", 0),
    "torn-log-kept": ("durability", 11),
    "no-fork-detection": ("default", 0),
    "fork-by-issued": ("default", 19),
    "acknowledges-known": ("default", 2),
    "watermark-of-neighbours": ("default", 0),
    "last-account-wins": ("default", 43),
    "forgotten-comes-back": ("default", 93),
    "speaks-newest": ("versions", 0),
    "revisit-keeps-its-place": ("resolvers", 16),
    "revisit-in-memory": ("resolvers", 38),
    "increment-without-absence": ("returns", 72),
    "increment-of-own-writes": ("returns", 0),
    "contexts-not-raised": ("returns", 9),
    "others-during-full-round": ("amid", 146),
    "ranges-without-absence": ("returns", 11),
    "splits-forgotten": ("returns", 1),
    "mending-consults-known": ("rot", 10),
    "counts-only": ("returns", 1),
    "closed-in-merge": ("forgets", 1),
    "closed-not-reissued": ("forgets", 1),
    "fork-keeps-durable-row": ("forks", 0),
    "durable-before-sync": ("default", 3),
    "closed-in-contexts": ("forgets", 1),
    "unseen-own-superseded": ("default", 2),
    "collectable-beside-unseen": ("collecting", 1),
    "feed-skips-gaps": ("collecting", 36),
    "feed-keeps-what-was-lost": ("default", 35),
    "feed-forgets-what-it-showed": ("collecting", 141),
    "feed-below-the-floor": ("collecting", 71),
    "feed-list-under-old-token": ("default", 60),
}
"""Each bug with the profile that dwells on it, and the first seed that found it when that was last
looked at: it is tried before the others."""


@pytest.mark.parametrize(
    ("profile", "first"),
    [(name, first) for name, count in CLEAN.items() for first in range(0, count, BLOCK)],
)
def test_every_invariant_holds(profile: str, first: int) -> None:
    for seed in range(first, first + BLOCK):
        violation = run(seed, profile=profile).violation
        assert violation is None, (
            f"{violation}\nread it: python -m tests.simulator --seed {seed} --profile {profile} "
            "--transcript"
        )


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str) -> None:
    parts, (profile, likely) = BUGS[bug].parts, PLANTED[bug]
    seeds = sorted(range(SEEDS_MAX), key=lambda seed: seed != likely)
    found = any(run(seed, profile=profile, parts=parts).violation for seed in seeds)
    assert found, f"{BUGS[bug].rule}: not found in {SEEDS_MAX} seeds of profile {profile}"


def test_the_document_names_all_of_them() -> None:
    text = (Path(__file__).parents[2] / "docs" / "SIMULATOR.md").read_text()
    told = re.findall(r"^\| `([a-z-]+)` \| .+ \| (\d+), (\w+) \|$", text, flags=re.M)
    assert {bug: (profile, int(count) - 1) for bug, count, profile in told} == PLANTED


def test_a_seed_is_the_same_run_every_time() -> None:
    first, second = (run(7, transcript=True) for _ in range(2))
    assert first == second
    assert len(first.transcript) > 100


def test_one_command_reproduces_a_failing_seed() -> None:
    command = [sys.executable, "-m", "tests.simulator", "--bug", "copy-keeps-origin"]
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [*command, "--seeds", "0-99"], cwd=root, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1, found.stderr
    (hint,) = (line for line in found.stdout.splitlines() if line.startswith("read it: "))
    again = subprocess.run(
        [sys.executable, *hint.removeprefix("read it: python ").split()],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1, again.stderr
    violation = next(line for line in found.stdout.splitlines() if line.startswith("VIOLATION"))
    assert violation.partition(": ")[2] in again.stdout
