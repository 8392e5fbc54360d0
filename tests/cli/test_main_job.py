"""``scripts/run``: it does its job on a small file, and would notice if it did not."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from mainjob.plan import (  # noqa: E402 — it lies beside the script
    CONTESTED_EVERY,
    CORRECTED_EVERY,
    NAMES,
    Plan,
    make_plan,
    read_records,
)
from mainjob.summary import Outcome, settled_by  # noqa: E402


def records(count: int) -> list[tuple[bytes, bytes]]:
    return [(b"key%04d" % number, b"value %d" % number) for number in range(count)]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, SCRIPTS / "run.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )


@pytest.mark.processes
def test_the_job_on_a_small_file(tmp_path: Path) -> None:
    file = tmp_path / "small.tsv"
    file.write_bytes(b"".join(b"%s\t%s\n" % record for record in records(2_000)))
    keep = tmp_path / "kept"
    done = run(str(file), "--keep", str(keep))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2,000: every node shows each of them" in done.stdout
    assert (
        "conflicts  20, settled alike on all nodes: 13 by the later timestamp, 7 by" in done.stdout
    )
    assert "node c was killed (SIGKILL) after" in done.stdout
    assert "\n           equal\n" in done.stdout
    assert all((keep / name / "CURRENT").exists() for name in NAMES)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "bad.tsv"
    file.write_bytes(b"a\t1\nno tab\n")
    assert run(str(file)).returncode == 2
    missing = run(str(tmp_path / "missing.tsv"))
    assert missing.returncode == 2
    assert "No such file" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_records_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "some.tsv"
    file.write_bytes(b"a\t1\r\n\nb\t2\t3")
    assert list(read_records(file)) == [(b"a", b"1"), (b"b", b"2\t3")]


def test_a_plan_spreads_everything_and_contests_some() -> None:
    plan = make_plan(iter(records(900)))
    assert (plan.records, plan.contested) == (900, 900 // CONTESTED_EVERY)
    shares = Counter({name: len(share) for name, share in plan.shares.items()})
    assert sum(shares.values()) == 900 - plan.contested
    assert max(shares.values()) - min(shares.values()) <= plan.contested
    assert plan.written.keys() == {key for key, _ in records(900)}
    writers = Counter(key for turns in plan.apart.values() for key, _ in turns[0])
    assert list(writers.values()) == [2] * plan.contested
    corrected = [key for turns in plan.apart.values() for key, _ in turns[1]]
    assert len(corrected) == plan.contested // CORRECTED_EVERY
    assert all(len(plan.written[key]) == 3 for key in corrected)


def outcome(plan: Plan, contents: dict[bytes, bytes], digests: str = "ddd") -> Outcome:
    return Outcome(
        plan=plan,
        seconds=1.0,
        digests=dict(zip(NAMES, digests, strict=True)),
        conflicts=[],
        contents=dict.fromkeys(NAMES, contents),
    )


def test_a_disagreement_is_noticed() -> None:
    plan = make_plan(iter(records(10)))
    right = dict(records(10))
    assert outcome(plan, right).agrees
    assert not outcome(plan, right, "ddx").agrees
    assert not outcome(plan, {**right, b"key0003": b"value nobody wrote"}).agrees
    assert not outcome(plan, {**right, b"nobody's": b"value"}).agrees
    lacking = dict(records(9))
    assert not outcome(plan, lacking).agrees
    assert outcome(plan, lacking).wrong["a"] == [b"key0009"]


def version(clock: int, timestamp: int) -> dict[str, object]:
    return {"clock": clock, "timestamp": timestamp}


def test_how_a_conflict_was_settled() -> None:
    assert settled_by([version(1, 5), version(0, 9)]) == "higher clock"
    assert settled_by([version(1, 5), version(1, 4)]) == "later timestamp"
    assert settled_by([version(1, 5), version(1, 5)]) == "greater dot"
