"""docs/VERIFY.md tells of every kind of fault, what it is and what becomes of it."""

import re
from pathlib import Path

from replicator.store.verify.faults import ABOUT, MENDED, Fault, Kind

DOCS = (Path(__file__).parents[3] / "docs" / "VERIFY.md").read_text()


def test_every_kind_is_documented_in_its_words() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \| (.*) \|$", DOCS, re.MULTILINE)
    assert rows == [(kind.value, ABOUT[kind], MENDED[kind]) for kind in Kind]


def test_a_fault_says_what_it_means() -> None:
    fault = Fault(Kind.CHANGED, b"k")
    assert fault.about == "the value of a key is not the one that was written"
    assert Fault(Kind.META, b"k", "no number").about.endswith("decode: no number")
