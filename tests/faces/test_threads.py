"""Threads that work on a handle while another one closes it: an error for each, and no crash.

LevelDB takes the process with it when it is closed under a call, so each case is a process.
"""

import subprocess
import sys
from pathlib import Path

import pytest

HAMMER = """
import random, sys, threading, time
import plyvel
from replicator import replicate

path, kind = sys.argv[1:]
db = replicate(plyvel.DB(path, create_if_missing=True, write_buffer_size=1 << 16), port=None, discovery=())
with db.write_batch() as batch:
    for number in range(20_000):
        batch.put(b"%06d" % number, bytes(100))


def key():
    return b"%06d" % random.randrange(20_000)


def batch():
    with db.write_batch() as batch:
        for _ in range(10):
            batch.put(key(), b"new")


def snapshots():
    with db.snapshot() as snapshot:
        snapshot.get(key())
        for _ in snapshot.iterator(start=key()):
            pass


def dropped_snapshots():
    for _ in range(20):
        db.snapshot()


def raw_iterators():
    items = db.raw_iterator()
    items.seek_to_first()
    while items.valid():
        items.next()


def turning():
    items = db.iterator(start=key())
    for _ in range(200):
        next(items)
    while True:
        items.prev()


WORK = {
    "get": lambda: db.get(key()),
    "put": lambda: db.put(key(), b"new"),
    "batch": batch,
    "iterate": lambda: [None for _ in db],
    "reverse": lambda: [None for _ in db.iterator(reverse=True)],
    "turning": turning,
    "raw_iterators": raw_iterators,
    "snapshots": snapshots,
    "dropped_snapshots": dropped_snapshots,
    "digest": db.digest,
    "conflicts": lambda: list(db.conflicts()),
    "sizes": lambda: db.approximate_size(b"", b"z"),
    "compact": lambda: db.compact_range(start=b"", stop=b"z"),
    "prefixed": lambda: [db.prefixed_db(b"0").get(key()) for _ in range(10)],
    "close": lambda: time.sleep(0.2) or db.close(),
}

ended = []
begun = threading.Barrier(5)


def hammer(work):
    begun.wait()
    while True:
        try:
            work()
        except StopIteration:
            pass
        except RuntimeError as error:
            assert "closed" in str(error), error
            ended.append(work)
            return
        if db.closed and work is WORK["close"]:
            ended.append(work)
            return


kinds = list(WORK)[:-1] if kind == "mixed" else [kind] * 4
threads = [threading.Thread(target=hammer, args=(WORK[kind],)) for kind in random.sample(kinds, 4)]
for thread in threads:
    thread.start()
begun.wait()
time.sleep(0.1 + random.random() / 10)
db.close()
assert db.closed
for thread in threads:
    thread.join()
assert len(ended) == 4
again = plyvel.DB(path)
assert sum(1 for _ in again.iterator(stop=b"\\xff" * 4)) == 20_000
print("all well")
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    "kind",
    [
        "get",
        "put",
        "iterate",
        "turning",
        "raw_iterators",
        "snapshots",
        "dropped_snapshots",
        "digest",
        "close",
        "mixed",
    ],
)
def test_closing_under_load(tmp_path: Path, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", HAMMER, str(tmp_path / "db"), kind],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "all well\n"), done.stderr
    assert done.stderr == ""
