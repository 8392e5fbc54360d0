"""How fast a store is backed up and restored, beside plain file writing in the same run.

    python -m benchmarks.bench_backup [--keys 1000000] [--directory DIR]

`--keys` random 16-byte keys with values of 100 bytes that deflate to half. Printed for a backup as
it is, a deflated one, an increment after a change of one key in a hundred, reading one to check it,
and restores: megabytes of the user's keys and values a second, and records a second. "plain
writing" writes as many bytes as the backup has into a file, and syncs it.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import plyvel

from replicator.config import BACKUP_BLOCK_BYTES, Settings
from replicator.store.backup import back_up
from replicator.store.backupchain import check_backup
from replicator.store.restore import restore
from replicator.store.store import Store

KEY_BYTES, VALUE_BYTES = 16, 100
BATCH = 1000
TARGETS = {"backup": 50.0}
"""MB/s of the user's keys and values."""


def fill(store: Store, count: int) -> None:
    """Random keys; half of each value is random."""
    for start in range(0, count, BATCH):
        store.write(
            [(random.randbytes(KEY_BYTES), value()) for _ in range(min(BATCH, count - start))]
        )


def value() -> bytes:
    return random.randbytes(VALUE_BYTES // 2) + bytes(VALUE_BYTES // 2)


def change(store: Store, every: int) -> int:
    """Write one key in so many again. Returns how many those are."""
    keys = [
        key
        for place, key in enumerate(
            store.db.iterator(include_value=False, stop=b"\xff\xff\xff\xff")
        )
        if place % every == 0
    ]
    for start in range(0, len(keys), BATCH):
        store.write([(key, value()) for key in keys[start : start + BATCH]])
    return len(keys)


def timed(name: str, count: int, run: Callable[[], object]) -> None:
    """Run it and print its rates."""
    started = time.perf_counter()
    run()
    seconds = time.perf_counter() - started
    rate = count * (KEY_BYTES + VALUE_BYTES) / seconds / 1e6
    target = f"  (target {TARGETS[name]:.0f})" if name in TARGETS else ""
    print(
        f"{name:<28} {seconds:7.2f} s  {rate:7.1f} MB/s  {count / seconds:9,.0f} records/s{target}"
    )


def backed_up(store: Store, path: Path, **options: object) -> None:
    for _ in back_up(store, path, **options):  # type: ignore[arg-type]
        pass


def write_plainly(path: Path, size: int) -> None:
    block = random.randbytes(BACKUP_BLOCK_BYTES)
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def measure(directory: Path, count: int) -> None:
    db = plyvel.DB(str(directory / "store"), create_if_missing=True)
    store = Store.open(db, settings=Settings(join_timeout=0))
    fill(store, count)
    db.compact_range()
    full, deflated, one = (directory / name for name in ("full", "deflated", "one"))
    timed("backup", count, lambda: backed_up(store, full))
    size = full.stat().st_size
    timed("plain writing", count, lambda: write_plainly(directory / "plain", size))
    timed("backup, deflated", count, lambda: backed_up(store, deflated, compress=True))
    timed("check", count, lambda: check_backup([full]))
    timed("restore", count, lambda: restore([full], directory / "r1"))
    timed("restore of a deflated one", count, lambda: restore([deflated], directory / "r2"))
    changed = change(store, 100)
    timed("increment of 1 %", changed, lambda: backed_up(store, one, since=full))
    timed("restore of both", count, lambda: restore([full, one], directory / "r3"))
    sizes = ", ".join(
        f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in (full, deflated, one)
    )
    megabytes = count * (KEY_BYTES + VALUE_BYTES) / 1e6
    print(f"sizes: {sizes}; the user's keys and values {megabytes:.1f} MB")
    store.close()
    db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, help="where to work; else a temporary place")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        measure(Path(name), arguments.keys)


if __name__ == "__main__":
    main()
