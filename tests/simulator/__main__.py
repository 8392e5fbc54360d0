"""``python -m tests.simulator``: run seeds, reproduce one, read what happened.

    python -m tests.simulator --seed 123 --transcript
    python -m tests.simulator --seeds 0-999 --profile small
    python -m tests.simulator --bug scanned-range --seeds 0-499

Exit status: 0 where every invariant held, 1 where one did not, 2 for wrong usage.
"""

import argparse
import sys
import time
from collections import Counter

from .cluster import Parts
from .plan import PROFILES
from .planted import BUGS
from .run import Result, run


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    parts = BUGS[options.bug].parts if options.bug else Parts()
    if options.bug:
        print(f"planted bug: {BUGS[options.bug].rule}")
    if options.seed is not None:
        result = run(
            options.seed, profile=options.profile, parts=parts, transcript=options.transcript
        )
        _tell(result)
        return int(result.violation is not None)
    return _sweep(options, parts)


def _tell(result: Result) -> None:
    for line in result.transcript:
        print(line)
    if not result.transcript:
        print(result.plan)
    print(f"VIOLATION: {result.violation}" if result.violation else "every invariant held")


def _sweep(options: argparse.Namespace, parts: Parts) -> int:
    """Many seeds; the first one that fails is told in full."""
    started = time.process_time()
    counts: Counter[str] = Counter()
    for done, seed in enumerate(options.seeds, start=1):
        result = run(seed, profile=options.profile, parts=parts)
        counts.update(result.counts)
        if result.violation:
            print(result.plan)
            print(f"VIOLATION after {done} seeds: {result.violation}")
            print(f"read it: {_command(seed, options)} --transcript")
            return 1
    seconds = time.process_time() - started
    print(f"{done} seeds, every invariant held, {done / seconds:.1f} seeds per second of CPU")
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    if new := counts["values new in meshes"]:
        average = counts["values crossed in meshes"] / new
        print(f"in meshes a value crosses to each node {average:.2f} times")
    return 0


def _command(seed: int, options: argparse.Namespace) -> str:
    command = f"python -m tests.simulator --seed {seed} --profile {options.profile}"
    return f"{command} --bug {options.bug}" if options.bug else command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulator", description="Whole clusters in virtual time."
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="run this one")
    which.add_argument("--seeds", type=_range, metavar="A-B", help="run A up to and with B")
    parser.add_argument("--profile", choices=PROFILES, default="default", help="size of the runs")
    parser.add_argument("--bug", choices=BUGS, help="with a planted bug")
    parser.add_argument("--transcript", action="store_true", help="with --seed: what happened")
    return parser


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    if not (first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of seeds: write 0-499")
    return range(int(first), int(last) + 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
