"""``python -m tests.upgrades``: watch a rolling upgrade under load."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.upgrades.earlier import Earlier
from tests.upgrades.rolling import upgraded


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upgrades", description=__doc__)
    parser.add_argument("--writers", type=int, default=4, help="beside each node")
    parser.add_argument("--seconds", type=float, default=3.0, help="between two steps")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        earlier = Earlier.unpacked(Path(name) / "0.1.0")
        with upgraded(
            earlier, Path(name), writers=options.writers, seconds=options.seconds, tell=print
        ) as rolling:
            every = [ledger for ledgers in rolling.ledgers.values() for ledger in ledgers]
            print(f"{sum(len(ledger.times) for ledger in every):,} writes were acknowledged")
            print(f"all three hold {len(rolling.contents('a')):,} keys, digest {rolling.digests()}")
            lost = [key for one in rolling.paths for key in rolling.lost(one)]
            print(f"acknowledged writes that are lost: {len(lost)}")
            return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
