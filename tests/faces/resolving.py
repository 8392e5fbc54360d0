"""A program whose resolver does to each key what its name says: ``python resolving.py DIR SMALL``.

It writes every key once, or twice where its values are to win in the default order, tells its
address, reads a peer's address, gets into step with it, and tells what became of that.
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

import plyvel
from resolving_keys import KEYS

import replicator
from replicator.config import VALUE_BYTES_MAX


def resolver(a: Any, b: Any) -> Any:
    """Accept the smaller value, whatever else it does on the way."""
    match a.key.decode():
        case "merges":
            return b"+".join(sorted((a.value, b.value)))
        case "raises":
            raise LookupError("no idea")
        case "nonsense":
            return "text"
        case "hangs":
            threading.Event().wait()
        case "huge":
            return bytes(VALUE_BYTES_MAX + 1)
        case "exits":
            sys.exit(3)
        case "interrupts":
            raise KeyboardInterrupt
        case "mutates":
            a.value = b"mine"
        case "reads":
            assert db.get(b"good") is not None and db.versions(b"good")
        case "writes":
            db.put(b"aside from " + NAME.encode(), b"v")
        case "settles":
            db.resolve(a.key, b"settled", seen=[])
        case "tombstone":
            return bool(a.is_delete)
    return a.value < b.value


def told(document: object) -> None:
    print(json.dumps(document), flush=True)


directory, NAME = Path(sys.argv[1]), Path(sys.argv[1]).name
is_small = sys.argv[2] == "small"
db = replicator.replicate(
    plyvel.DB(str(directory), create_if_missing=True),
    port=0,
    discovery=[],
    cluster="resolving",
    name=NAME,
    resolver=resolver,
    resolver_timeout=0.3,
    join_timeout=0.0,
)
for name in KEYS:
    if not is_small:  # the higher clock: what the default order shows
        db.put(name.encode(), b"before")
    db.put(name.encode(), b"1" if is_small else b"2")
if is_small:
    db.delete(b"tombstone")
told({"address": str(db.address)})
peer = sys.stdin.readline().strip()
if peer:
    db.add_peer(peer)
told({"in step": db.sync(timeout=60)})
sys.stdin.readline()
status = db.status()
told(
    {
        "shown": {key.decode(): value.decode() for key, value in db},
        "digest": db.digest(),
        "faults": status.counters.resolver_faults,
        "reasons": dict(status.conflicts.by_reason),
        "conflicts": sorted(key.decode() for key, _ in db.conflicts()),
    }
)
sys.stdin.readline()
db.close()
