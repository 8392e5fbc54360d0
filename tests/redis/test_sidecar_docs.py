"""docs/SIDECAR.md names the limits that are in force."""

from pathlib import Path

from replicator.faces.leveldb import LEVELDB_CACHE_BYTES, LEVELDB_FILTER_BITS
from replicator.faces.redis import entrances, limits
from replicator.faces.redis.clients import _KEEPALIVE, _SOME_BYTES

PAGE = Path(__file__).parents[2] / "docs" / "SIDECAR.md"
TEXT = " ".join(PAGE.read_text().split())


def test_limits() -> None:
    for told in (
        f"clients | {limits.RESP_CLIENTS_MAX:,} (`resp.clients_max`)",
        f"leaves {limits.RESP_DESCRIPTORS_LEFT} of them to others",
        f"waiting to be let in | {limits.RESP_BACKLOG:,}, then",
        f"{limits.RESP_REQUEST_BYTES_MAX >> 20} MiB and {limits.RESP_ARGUMENTS_MAX:,} words; an "
        f"inline one {limits.RESP_INLINE_BYTES_MAX >> 10} KiB",
        f"{limits.RESP_INPUT_ALL_BYTES_MAX >> 20} MiB; then one with more than "
        f"{_SOME_BYTES >> 20} MiB",
        f"before logging in | {limits.RESP_STRANGER_BYTES_MAX >> 10} KiB; "
        f"{limits.RESP_STRANGER_SECONDS:g} s",
        f"for one client | {limits.RESP_OUTPUT_BYTES_MAX >> 20} MiB",
        f"wait, all clients together | {limits.RESP_OUTPUT_ALL_BYTES_MAX >> 20} MiB",
        f"for a subscriber | {limits.RESP_PUSHED_BYTES_MAX >> 20} MiB",
        f"reads nothing of what waits | {limits.RESP_STALL_SECONDS:g} s",
        f"block at a time | {limits.RESP_THREADS_MAX} |",
        f"one of {limits.RESP_THREADS_MAX} threads",
        f"{limits.RESP_TURN_SECONDS * 1e3:g} ms, or {limits.RESP_TURN_WRITES_MAX:,} written keys",
        f"for about {limits.RESP_SLICE_SECONDS * 1e3:g} ms at a time",
        f"closing | {limits.RESP_DRAIN_SECONDS:g} s",
        f"up to {limits.RESP_READ_BYTES >> 10} KiB each",
        f"{LEVELDB_CACHE_BYTES >> 20} MiB of blocks",
        f"filters ({LEVELDB_FILTER_BITS} bits a key)",
    ):
        assert told in TEXT, told
    assert entrances._TOO_MANY.decode()[1:].strip() in TEXT
    (idle, every, probes) = [seconds for _, seconds in _KEEPALIVE]
    assert (idle, every * probes) == (300, 180), "told in words"
