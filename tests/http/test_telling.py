"""What a page is told of a node."""

from dataclasses import replace
from pathlib import Path

from replicator.faces.http.happenings import Happening
from replicator.faces.http.limits import NODES_SHOWN_MAX
from replicator.faces.http.shown import shown
from replicator.faces.http.telling import (
    tell_conflicts,
    tell_happenings,
    tell_peers,
    tell_state,
    worst_lag,
)
from replicator.status import MemberStatus, PeerStatus

from .serving import alone


def member(name: str, number: int, *, alive: bool = True, lag: float = 0.0) -> MemberStatus:
    return MemberStatus(
        name, f"{number:016x}", False, alive, alive, ("127.0.0.1:1",), 0, 2.0, int(lag), lag, "1"
    )


def talk(origin: str | None, error: str | None = None) -> PeerStatus:
    return PeerStatus(
        "127.0.0.1:1", "b", origin, True, "dialled", "", 0, 0.0, error, False, 3, 4, 5, 0.0
    )


async def test_peers_and_those_who_were_never_reached(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        view = await served.server._watch.look()
        peers = (talk(f"{2:016x}", "re\x1bfused"), talk(None, "no \u202eroute"))
        view = replace(
            view,
            members=(*view.members, member("b\x07", 2, lag=7.0), member("a", 1, alive=False)),
            status=replace(view.status, peers=peers),
        )
        state = tell_state(view, has_token=True)
        silent, talking = state["peers"]
        assert (silent["name"], silent["alive"], "direction" in silent) == ("a", False, False)
        assert (talking["name"], talking["direction"], talking["records_in"]) == (
            r"b\x07",
            "dialled",
            4,
        )
        assert talking["error"] == r"re\x1bfused"
        assert state["unmet"] == [{"address": "127.0.0.1:1", "error": r"no \u202eroute"}]
        assert state["node"]["silent"] == 1 and state["node"]["has_token"]
        assert worst_lag(view) == (7, 7.0)


async def test_of_many_those_are_told_that_need_a_look(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        view = await served.server._watch.look()
        many = [member(f"n{number:04d}", number) for number in range(2 * NODES_SHOWN_MAX)]
        behind = member("z-behind", 5000, lag=3.0)
        silent = member("z-silent", 5001, alive=False)
        told = tell_peers(replace(view, members=(*many, behind, silent)))
        assert len(told) == NODES_SHOWN_MAX
        assert [one["name"] for one in told[-2:]] == ["z-behind", "z-silent"]
        assert [one["name"] for one in told] == sorted(one["name"] for one in told)


async def test_alone_nobody_is_behind(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        assert worst_lag(await served.server._watch.look()) == (0, 0.0)


def test_keys_are_left_out_for_those_who_may_not_see_them() -> None:
    happening = Happening(1, 2, "conflict", "text", shown(b"key"))
    (open_,), (closed,) = (tell_happenings([happening], sees) for sees in (True, False))
    assert open_["key"] == shown(b"key")
    assert closed == open_ | {"key": None}
    listed = [{"key": "k"}]
    assert tell_conflicts(listed, 1, True) == {"open": 1, "locked": False, "listed": listed}
    assert tell_conflicts(listed, 1, False) == {"open": 1, "locked": True, "listed": []}
