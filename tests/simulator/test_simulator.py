"""Hundreds of seeds hold every invariant; each planted bug is found; a seed reproduces its run."""

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
    "outsiders": 20,
}
"""Seeds run of each profile, from 0."""

SEEDS_MAX = 500
"""A planted bug is found within so many seeds, or the simulator is blind to it."""

PLANTED = {
    "scanned-range": "default",
    "repair-keeps-known": "damage",
    "repair-forgets-live-only": "damage",
    "repair-forgets-collected": "damage",
    "dropped-contexts": "durability",
    "known-ignored-in-merge": "default",
    "eager-discard": "default",
    "cursor-before-data": "default",
    "claim-ignores-withheld": "default",
    "claims-complete-each-other": "collecting",
    "floor-left-behind": "collecting",
    "log-only-catch-up": "collecting",
    "no-watermark": "default",
    "watermark-at-once": "collecting",
    "tombstone-beside-put": "default",
    "expiry-shows-losers": "expiry",
    "expiry-by-hybrid-clock": "expiry",
    "swept-for-good": "expiry",
    "expired-dropped-early": "expiry",
    "clock-adopted": "default",
    "clock-stays-ahead": "default",
    "clock-steps-back": "default",
    "dot-reused": "default",
    "copy-keeps-origin": "default",
    "known-survives-power-cut": "default",
    "floor-survives-power-cut": "collecting",
    "older-logs-unsynced": "default",
    "torn-log-kept": "durability",
    "no-fork-detection": "default",
    "fork-by-issued": "default",
    "acknowledges-known": "default",
    "watermark-of-neighbours": "default",
    "last-account-wins": "default",
    "forgotten-comes-back": "default",
    "speaks-newest": "versions",
    "increment-without-absence": "returns",
    "increment-of-own-writes": "returns",
    "contexts-not-raised": "returns",
    "others-during-full-round": "returns",
    "ranges-without-absence": "returns",
    "splits-forgotten": "returns",
    "mending-consults-known": "rot",
    "counts-only": "returns",
    "closed-in-merge": "forgets",
    "closed-not-reissued": "forgets",
    "fork-keeps-durable-row": "forks",
    "durable-before-sync": "default",
    "closed-in-contexts": "forgets",
    "unseen-own-superseded": "default",
    "collectable-beside-unseen": "collecting",
    "feed-skips-gaps": "collecting",
    "feed-keeps-what-was-lost": "default",
    "feed-forgets-what-it-showed": "collecting",
    "feed-below-the-floor": "collecting",
    "feed-list-under-old-token": "default",
}
"""Each bug with the profile that dwells on it."""


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
    parts, profile = BUGS[bug].parts, PLANTED[bug]
    found = any(run(seed, profile=profile, parts=parts).violation for seed in range(SEEDS_MAX))
    assert found, f"{BUGS[bug].rule}: not found in {SEEDS_MAX} seeds of profile {profile}"


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
