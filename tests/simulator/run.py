"""Running seeds."""

from collections import Counter
from dataclasses import dataclass

from .cluster import Cluster, Parts
from .oracle import Violation
from .plan import make
from .transcript import Transcript


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one seed.

    Attributes:
        plan: what it stood for, in a sentence.
        violation: the invariant that does not hold, in a sentence, or None.
        transcript: the lines, if they were wanted.
        counts: what happened how often.
    """

    plan: str
    violation: str | None
    transcript: list[str]
    counts: Counter[str]


_SOUND = Parts()


def run(
    seed: int, *, profile: str = "default", parts: Parts = _SOUND, transcript: bool = False
) -> Result:
    """Run one seed; the same arguments give the same result, always."""
    plan = make(seed, profile)
    script = Transcript(transcript)
    cluster = Cluster(plan, parts, script)
    violation = None
    try:
        cluster.run()
    except Violation as error:
        violation = script.readable(str(error))
    return Result(str(plan), violation, script.lines(), cluster.counts)
