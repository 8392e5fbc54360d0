"""Conversations as transcripts: what comes in, and exactly what goes out."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.config import (
    CLAIM_SECONDS,
    FRAME_BYTES_MAX,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_LEAST,
)
from replicator.core.chunk import Chunk
from replicator.core.dots import SEQ_MAX
from replicator.core.known import KnownSet
from replicator.errors import (
    CommitError,
    ForkedContentsError,
    ForkError,
    ProtocolError,
    UsageError,
)
from replicator.protocol.counters import Counters
from replicator.protocol.effects import (
    AdoptCluster,
    Applied,
    ChunkRead,
    Close,
    CloseSource,
    Effect,
    Event,
    Finish,
    Fork,
    Heard,
    KnownChanged,
    Lost,
    OpenSource,
    Poke,
    PokeOthers,
    ReadChunk,
    Report,
    RosterChanged,
    Send,
    Show,
    SourceOpened,
    Stop,
    StoreFailed,
)
from replicator.protocol.messages import (
    BYE_CODES,
    Begin,
    Bye,
    End,
    Hello,
    Known,
    Message,
    Ping,
    Pong,
    Records,
    Want,
)
from tests.protocol.samples import CLUSTER, ME, PEER, SETTINGS, Node, chunk, hello, known, messages
from tests.protocol.talk import MET, NOTHING, Talk, closing, end, said

SETTINGS_THAT_LINGER = replace(SETTINGS, linger=1000.0)
IDLE_BYE = Bye("nothing more to say", "idle")


# Greeting


def test_both_sides_greet_alike() -> None:
    for dialled in (True, False):
        talk = Talk(known(me=3), dialled=dialled, explicit=True)
        (effect,) = talk.starts()
        assert effect == Send(
            Hello(
                (PROTOCOL_VERSION_LEAST, PROTOCOL_VERSION),
                "default",
                CLUSTER,
                "me",
                ME,
                b"instance",
                "default",
                explicit=True,
                has_data=True,
                wall_ms=talk.node.wall_ms,
                block_hashes=known(me=3).block_hashes(),
                members=bytes(8),
                port=0,
                dialled="peer:1" if dialled else "",
            )
        )


def test_only_blocks_that_differ_are_sent() -> None:
    talk = Talk(known(me=3, third=7))
    talk.starts()
    assert talk.hears(hello(known(peer=1, third=7))) == [Send(Known(known(me=3)))]
    assert talk.conversation.peer_known == known(third=7)
    talk.hears(Known(known(peer=1)))
    assert talk.conversation.peer_known == known(third=7, peer=1)


def test_two_equal_nodes_say_little() -> None:
    talk = Talk(known(third=7))
    talk.starts()
    assert talk.hears(hello(known(third=7))) == [Send(Known(NOTHING))]
    assert talk.hears(Known(NOTHING)) == [MET]
    assert talk.conversation.is_open


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cluster": "other"}, "cluster 'other'"),
        ({"versions": (PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 1)}, "no common protocol version"),
        ({"instance": b"instance", "origin": ME}, "self"),
    ],
)
def test_a_peer_that_does_not_belong_here_is_refused(
    changes: dict[str, object], words: str
) -> None:
    talk = Talk()
    talk.starts()
    effects = talk.hears(hello(**changes))
    close = closing(effects)
    assert close.code == "refused"
    assert words in close.reason
    assert effects == [Send(Bye(close.reason, "refused")), *end("refused", close.reason)]


def test_another_cluster_of_the_same_name_is_refused_once_both_sets_are_known() -> None:
    talk = Talk(known(me=3))
    effects = talk.greeted(known(peer=2), cluster_id=b"another")
    assert closing(effects).code == "refused"
    assert not said(effects, Want)
    assert not any(isinstance(effect, AdoptCluster) for effect in effects)


def test_another_cluster_is_merged_where_a_person_said_so() -> None:
    assert Talk(known(me=3), explicit=True).greeted(cluster_id=b"another")[:2] == [
        adopt(b"another"),
        MET,
    ]
    assert adopt(b"another") in Talk().greeted(cluster_id=b"another", explicit=True)
    assert MET in Talk(explicit=True).greeted(cluster_id=b"zzz"), "the smaller id wins"


def test_a_node_of_a_merged_cluster_follows() -> None:
    effects = Talk(known(third=3)).greeted(known(third=(3, 5)), cluster_id=b"another")
    assert effects[0] == adopt(b"another")


def adopt(cluster_id: bytes) -> AdoptCluster:
    """A merge with a cluster that has data, from the one of `CLUSTER`."""
    return AdoptCluster(cluster_id, CLUSTER, is_forced=True, is_binding=True)


def new_node() -> Node:
    """A store that holds nothing and belongs nowhere yet."""
    node = Node()
    node.has_data, node.cluster_id = False, None
    return node


def written(node: Node) -> None:
    """The node's first write, which makes it a cluster id."""
    node.has_data, node.cluster_id = True, b"made by the first write"


def test_a_new_node_joins_the_cluster_it_meets() -> None:
    talk = Talk(node=new_node())
    found = AdoptCluster(CLUSTER, None, is_forced=False, is_binding=True)
    assert talk.greeted() == [found, MET], "unless it has met another one meanwhile"
    two_new_ones = Talk(node=new_node()).greeted(cluster_id=None, has_data=False)
    assert isinstance(two_new_ones[0], AdoptCluster)


def test_a_first_write_during_the_greeting_is_not_given_to_a_cluster_by_accident() -> None:
    talk = Talk(node=new_node())
    talk.starts()
    talk.hears(hello())
    written(talk.node)
    effects = talk.hears(Known(NOTHING))
    assert closing(effects).code == "busy"
    assert not any(isinstance(effect, AdoptCluster) for effect in effects)


def test_a_first_write_during_the_greeting_of_a_peer_without_data_does_no_harm() -> None:
    talk = Talk(node=new_node())
    talk.starts()
    talk.hears(hello(has_data=False))
    written(talk.node)
    assert talk.hears(Known(NOTHING)) == [
        AdoptCluster(CLUSTER, None, is_forced=False, is_binding=False),
        MET,
    ]


def test_a_first_write_during_a_greeting_that_a_person_asked_for_does_no_harm() -> None:
    talk = Talk(node=new_node(), explicit=True)
    talk.starts()
    talk.hears(hello())
    written(talk.node)
    assert talk.hears(Known(NOTHING)) == [
        AdoptCluster(CLUSTER, None, is_forced=True, is_binding=True),
        MET,
    ]


def test_the_peers_id_may_be_adopted_by_two_conversations_at_once() -> None:
    talk = Talk(node=new_node())
    talk.starts()
    talk.hears(hello())
    talk.node.cluster_id = CLUSTER
    assert talk.hears(Known(NOTHING)) == [MET]


def test_differing_resolvers_and_clocks_are_reported() -> None:
    effects = Talk().greeted(resolver="json_merge", wall_ms=0)
    assert [effect.kind for effect in effects if isinstance(effect, Report)] == [
        "met",
        "resolver",
        "skew",
    ]


def test_a_peer_that_does_not_greet_is_dropped() -> None:
    talk = Talk()
    talk.starts()
    assert talk.conversation.deadline == SETTINGS.connect_timeout
    assert talk.waits(SETTINGS.connect_timeout - 1) == []
    assert closing(talk.at_deadline()).code == "silent"
    half = Talk()
    half.starts()
    half.now = 2.0
    half.hears(hello())
    assert closing(half.at_deadline()).code == "silent", "two greetings, one time limit"
    assert half.now == SETTINGS.connect_timeout


# Forks (R13)


def shown_up_to(seq: int, mine: KnownSet) -> Node:
    """A store that has written more than it was ever asked for."""
    node = Node(ME, mine)
    node.shown = seq
    return node


def test_one_origin_in_two_places_is_a_fork() -> None:
    talk = Talk()
    talk.starts()
    effects = talk.hears(hello(origin=ME))
    assert effects[1:3] == [PokeOthers(), Fork()]
    assert closing(effects).code == "fork"
    assert said(effects, Bye)[0].code == "fork"


def test_a_peer_that_knows_what_it_was_never_shown_proves_a_fork() -> None:
    """Rolled back to seq 3, written again up to 5: the peer remembers another 4."""
    talk = Talk(node=shown_up_to(3, known(me=5)))
    talk.starts()
    assert said(talk.hears(hello(known(me=4))), Known) == [Known(known(me=3))]
    effects = talk.hears(Known(known(me=4)))
    assert Fork() in effects
    assert not any(isinstance(effect, Show | Want) for effect in effects)


def test_own_dots_are_told_after_the_peer_has_proved_nothing() -> None:
    talk = Talk(node=shown_up_to(3, known(me=5)))
    assert talk.greeted(known(me=3)) == [MET, Show(5), Send(Known(known(me=(4, 5))))]


def test_equal_blocks_prove_no_fork() -> None:
    talk = Talk(node=shown_up_to(3, known(me=5)))
    talk.starts()
    assert said(talk.hears(hello(known(me=3))), Known) == [Known(NOTHING)]


def test_a_fork_is_noticed_in_the_middle_of_a_conversation() -> None:
    talk = Talk(known(me=3))
    talk.greeted()
    assert Fork() in talk.hears(Known(known(me=(4, 4))))
    later = Talk(known(me=3))
    later.greeted(known(peer=1))
    assert Fork() in later.hears(Begin(1, known(me=4, peer=1), {}, False))


def test_a_fork_that_the_store_notices() -> None:
    talk = pulling(known(peer=1))
    talk.hears(Records(1, chunk(b"k")))
    (finish,) = talk.hears(End(1))
    effects = talk.told(StoreFailed(finish, ForkError("own dots in a context")))
    assert effects == [
        Send(Bye("own dots in a context", "fork")),
        PokeOthers(),
        Fork(),
        Close("fork", "own dots in a context"),
    ]


def test_being_stopped_for_a_fork_is_none() -> None:
    talk = Talk()
    talk.greeted()
    effects = talk.told(Stop("fork", "another conversation found one"))
    assert Fork() not in effects
    assert closing(effects).code == "fork"
    theirs = Talk()
    theirs.greeted()
    assert Fork() not in theirs.hears(Bye("new origin", "fork"))


# Catching up


def pulling(theirs: object = None, **options: object) -> Talk:
    """A talk in which this side has asked the peer for everything, and the peer has begun."""
    peer_known = known(peer=9) if theirs is None else theirs
    talk = Talk(**options)  # type: ignore[arg-type]
    talk.greeted(peer_known)  # type: ignore[arg-type]
    talk.hears(Begin(1, peer_known, {}, False))  # type: ignore[arg-type]
    return talk


def test_both_sides_catch_up_in_one_conversation() -> None:
    talk = Talk(known(me=3), dialled=False)
    theirs, ours = chunk(b"a", b"b"), chunk(b"x", origin=ME)

    assert talk.greeted(known(peer=2)) == [MET, Send(Want(1, None))]
    assert talk.hears(Want(1, None)) == [OpenSource()]
    assert talk.hears(Begin(1, known(peer=2), {}, False)) == []
    assert talk.told(SourceOpened(known(me=3), {})) == [
        Send(Begin(1, known(me=3), {}, False)),
        ReadChunk(known(me=3)),
    ]
    assert talk.hears(Records(1, theirs)) == []
    assert talk.told(ChunkRead(ours)) == [Send(Records(1, ours)), ReadChunk(known(me=3))]
    assert talk.hears(End(1)) == [Finish(theirs, known(peer=2), known(peer=2), {})]
    assert talk.told(ChunkRead(None)) == [
        CloseSource(),
        Send(End(1)),
        Report("served", records=1, size_bytes=ours.size_bytes),
    ]
    talk.node.known.update(known(peer=2))
    assert talk.told(KnownChanged()) == [], "the peer is not told its own dots piece by piece"
    assert talk.told(Applied(2, 1)) == [
        Report("round", records=2, changed=1, size_bytes=theirs.size_bytes),
        PokeOthers(),
        Send(Known(known(peer=2))),
    ]
    assert talk.hears(Known(known(me=3))) == []
    assert talk.conversation.states == ("open", "idle", "idle")
    assert talk.conversation.counters == Counters(
        rounds=1,
        records=2,
        size_bytes=theirs.size_bytes,
        rounds_served=1,
        records_served=1,
        size_bytes_served=ours.size_bytes,
    )


def test_a_purge_floor_may_lie_above_the_known_set() -> None:
    """A full-state round of the peer was cut: it dropped what it does not yet know to be gone."""
    talk = Talk()
    talk.greeted(known(peer=5))
    talk.hears(Begin(1, known(peer=5), {PEER: 6}, False))
    assert talk.hears(End(1)) == [Finish(Chunk(), known(peer=5), known(peer=5), {PEER: 6})]


def test_only_what_the_peer_lacks_is_served() -> None:
    talk = Talk(known(me=9, third=4))
    talk.greeted(known(me=(2, 3), third=9))
    talk.hears(Known(known(me=(5, 5))))
    talk.hears(Want(1, known(me=6)))
    effects = talk.told(SourceOpened(known(me=9, third=4), {}))
    assert effects[-1] == ReadChunk(
        known(me=(1, 1)).union(known(me=(4, 4))).union(known(me=(6, 6)))
    )


def test_the_snapshot_is_shown_before_it_is_sent() -> None:
    """It may hold own dots that were committed a moment ago."""
    talk = Talk(known(me=3))
    talk.greeted()
    talk.hears(Want(1, None))
    assert talk.told(SourceOpened(known(me=4), {}))[:2] == [
        Show(4),
        Send(Begin(1, known(me=4), {}, False)),
    ]
    talk.node.known, talk.node.shown = known(me=4), 4
    assert talk.told(KnownChanged()) == [], "the Begin has told"


def test_changes_are_announced_at_once_and_only_the_difference() -> None:
    talk = Talk(known(me=3))
    talk.greeted()
    talk.node.known.update(known(me=4, third=2))
    assert talk.told(KnownChanged()) == [Show(4), Send(Known(known(me=(4, 4), third=2)))]
    assert talk.told(KnownChanged()) == []


def test_nothing_is_announced_before_the_link_is_open() -> None:
    talk = Talk(known(me=3))
    assert talk.told(KnownChanged()) == []
    talk.starts()
    talk.hears(hello())
    talk.node.known.add(ME, 4)
    assert talk.told(KnownChanged()) == []
    assert said(talk.hears(Known(NOTHING)), Known) == [Known(known(me=(4, 4)))]


def test_local_writes_are_announced_while_a_round_comes_in() -> None:
    talk = pulling(known(peer=9))
    talk.node.known.update(known(me=1, peer=(8, 9)))
    assert talk.told(KnownChanged()) == [Show(1), Send(Known(known(me=1)))]


def test_what_the_peer_announces_is_asked_for() -> None:
    talk = Talk()
    talk.greeted()
    assert talk.hears(Known(known(peer=1))) == [Send(Want(1, None))]
    assert talk.hears(Known(known(peer=(2, 2)))) == [], "one round at a time"


def test_after_a_round_the_next_is_asked_for() -> None:
    talk = pulling(known(peer=1))
    talk.hears(Known(known(peer=(2, 2))))
    (finish,) = talk.hears(End(1))
    assert finish == Finish(Chunk(), known(peer=1), known(peer=1), {})
    talk.node.known.update(known(peer=1))
    assert talk.told(Applied(0, 0))[-2:] == [Send(Known(known(peer=1))), Send(Want(2, None))]


def test_a_snapshot_may_be_older_than_what_was_announced_while_it_was_opened() -> None:
    talk = Talk()
    talk.greeted(known(peer=1))
    talk.hears(Known(known(peer=(2, 2))))
    assert talk.hears(Begin(1, known(peer=1), {}, False)) == []
    assert talk.hears(End(1)) == [Finish(Chunk(), known(peer=1), known(peer=1), {})]


def test_a_conversation_lingers_while_either_side_writes() -> None:
    talk = Talk(known(me=1))
    talk.greeted(known(me=1))
    for seq in range(2, 6):
        talk.now += SETTINGS.linger - 1
        talk.node.known.add(ME, seq)
        talk.node.shown = seq
        talk.told(KnownChanged())
        talk.hears(Known(known(me=(seq, seq))))
    assert talk.conversation.deadline == talk.now + SETTINGS.linger


# Withheld dots (R5)


def test_what_another_is_asked_for_is_withheld_and_the_claim_waits() -> None:
    one = Talk()
    two = Talk(node=one.node, pulls=one.pulls, conversation_id=2)
    one.greeted(known(third=5))
    assert two.greeted(known(third=5, peer=3))[-1] == Send(Want(1, known(peer=SEQ_MAX)))
    two.hears(Begin(1, known(third=5, peer=3), {PEER: 2}, False))
    two.hears(Records(1, chunk(b"k")))
    assert two.hears(End(1)) == [Finish(chunk(b"k"), known(third=5, peer=3), None, {})]
    two.node.known.add(PEER, 3)
    assert two.pulls.pending == 0, "nothing is pending before it is applied"
    assert not said(two.told(Applied(1, 1)), Want), "the rest is asked from the other, or claimed"
    assert two.pulls.pending == 1
    assert two.told(KnownChanged()) == []

    two.node.known.update(known(third=5))
    claim = known(third=5, peer=3)
    assert two.told(KnownChanged())[0] == Finish(Chunk(), claim, claim, {PEER: 2})
    assert two.pulls.pending == 0
    assert one.told(KnownChanged())[0] == Send(Known(known(third=5, peer=(3, 3))))
    two.node.known.update(claim)
    assert not said(two.told(Applied(0, 0)), Want)


def test_any_conversation_commits_a_ripe_claim() -> None:
    talk = Talk()
    talk.greeted()
    talk.pulls.pend(known(peer=3), {PEER: 1}, known(third=1), now=0)
    talk.pulls.pend(known(peer=2, third=2), {PEER: 2}, known(third=2), now=0)
    talk.node.known = known(third=2)
    claim = known(peer=3, third=2)
    effects = talk.told(KnownChanged())
    assert effects[0] == Finish(Chunk(), claim, claim, {PEER: 2})
    assert talk.conversation.states[1] == "finishing"
    assert talk.told(Applied(0, 0)) == [], "no round, no report"
    assert talk.conversation.counters.rounds == 0


def test_dots_that_are_known_by_the_end_of_the_round_hold_back_no_claim() -> None:
    one = Talk()
    two = Talk(node=one.node, pulls=one.pulls, conversation_id=2)
    one.greeted(known(third=5))
    two.greeted(known(third=5, peer=3))
    two.hears(Begin(1, known(third=5, peer=3), {}, False))
    two.node.known.update(known(third=5))
    claim = known(third=5, peer=3)
    assert two.hears(End(1)) == [Finish(Chunk(), claim, claim, {})]


def test_two_peers_that_each_withhold_what_the_other_sends() -> None:
    """Each round brings a dot that supersedes the other peer's first one. Nobody sends those two,
    and neither claim may complete the other."""
    everything = known(peer=3, third=3)
    one, two = circular(everything)
    for talk in (one, two):
        assert not any(isinstance(effect, Finish) for effect in talk.told(KnownChanged()))
    assert one.pulls.pending == 2

    one.pulls.finished(1)
    (want,) = said(two.told(Poke()), Want)
    assert want.wanted is not None, "the other one is still there"
    assert want.wanted.issuperset(known(peer=1, third=1)), "and nobody else is asked any more"
    two.hears(Begin(2, everything, {}, False))
    assert two.hears(End(2)) == [Finish(Chunk(), everything, everything, {})]
    two.node.known.update(everything)
    two.told(Applied(0, 0))
    assert two.pulls.pending == 0, "the two claims have nothing more to say"


def test_a_claim_that_waits_in_vain_is_settled_with_nothing_withheld() -> None:
    everything = known(peer=3, third=3)
    one, two = circular(everything)
    two.now = CLAIM_SECONDS - 0.1
    one.pulls.progress(1, two.now)
    assert not said(two.told(Poke()), Want), "the first is still being served"
    two.now = CLAIM_SECONDS
    assert said(two.told(Poke()), Want) == [Want(2, None)]


def circular(everything: KnownSet) -> tuple[Talk, Talk]:
    """Two conversations whose claims wait for each other, while the first is asked for more."""
    one = Talk()
    two = Talk(node=one.node, pulls=one.pulls, conversation_id=2)
    one.greeted()
    two.greeted()
    one.pulls.plan(1, PEER, known(peer=3), NOTHING, now=0)
    assert said(two.hears(Known(everything)), Want) == [Want(1, known(third=SEQ_MAX))]
    two.hears(Begin(1, everything, {}, False))
    assert two.hears(End(1)) == [Finish(Chunk(), everything, None, {})]
    one.pulls.pend(everything, {}, known(third=3), now=0)
    one.node.known.update(known(peer=(2, 3), third=(2, 3)))
    assert not said(two.told(Applied(2, 2)), Want)
    return one, two


def test_a_dot_is_asked_elsewhere_when_its_peer_makes_no_progress() -> None:
    one = Talk()
    two = Talk(node=one.node, pulls=one.pulls, conversation_id=2)
    one.greeted(known(third=5))
    assert not said(two.greeted(known(third=5)), Want)
    two.now = SETTINGS.keepalive - 1
    two.hears(Known(known(third=5)))
    assert two.at_deadline() == [Send(Ping())]
    two.hears(Pong())
    asked = known(third=SEQ_MAX, peer=SEQ_MAX)
    assert said(two.at_deadline(), Want) == [Want(1, asked)]
    assert two.now == SETTINGS.reask_timeout


def test_a_peer_that_sends_keeps_what_it_was_asked_for() -> None:
    one = Talk()
    two = Talk(node=one.node, pulls=one.pulls, conversation_id=2)
    one.greeted(known(third=5))
    two.greeted(known(third=5))
    one.now = SETTINGS.reask_timeout - 1
    one.told(Heard())
    two.now = SETTINGS.reask_timeout
    assert not said(two.told(Poke()), Want)


def test_when_a_conversation_ends_the_others_ask() -> None:
    one = Talk()
    two = Talk(node=one.node, pulls=one.pulls, conversation_id=2)
    one.greeted(known(third=5))
    assert not said(two.greeted(known(third=5)), Want)
    assert PokeOthers() in one.told(Lost("cut"))
    assert two.told(Poke()) == [Send(Want(1, None))]


# Leaving


def test_the_one_who_dialled_leaves_after_a_while() -> None:
    talk = Talk()
    talk.greeted()
    assert talk.waits(SETTINGS.linger - 1) == []
    assert talk.at_deadline() == [Send(IDLE_BYE)]
    assert talk.now == SETTINGS.linger
    assert talk.hears(IDLE_BYE) == end("idle", IDLE_BYE.reason)


def test_who_waits_for_what_the_peer_says_does_not_leave() -> None:
    talk = Talk()
    talk.greeted()
    talk.conversation.is_awaited = True
    assert talk.waits(SETTINGS.linger + 1) == []
    talk.conversation.is_awaited = False
    assert talk.at_deadline() == [Send(IDLE_BYE)]


def test_the_other_answers() -> None:
    talk = Talk(dialled=False)
    talk.greeted()
    assert talk.hears(IDLE_BYE) == [Send(IDLE_BYE), *end("idle", IDLE_BYE.reason, by_peer=True)]


def test_the_other_leaves_too_if_the_one_who_dialled_does_not() -> None:
    talk = Talk(dialled=False)
    talk.greeted()
    while not said(talk.at_deadline(), Bye):
        talk.hears(Pong())
    assert talk.now == SETTINGS.linger + SETTINGS.reask_timeout


def test_who_left_waits_for_an_answer_but_not_for_ever() -> None:
    talk = Talk()
    talk.greeted()
    talk.at_deadline()
    left_at = talk.now
    assert talk.at_deadline() == end("idle", IDLE_BYE.reason)
    assert talk.now == left_at + SETTINGS.connect_timeout


def test_what_crosses_a_bye_is_left_alone() -> None:
    talk = Talk(known(me=1))
    talk.greeted(known(me=1))
    talk.at_deadline()
    for message in (Known(known(peer=1)), Want(1, None), Ping(), Pong()):
        assert talk.hears(message) == []
    assert talk.told(KnownChanged()) == []
    assert talk.told(Poke()) == []
    assert closing(talk.hears(IDLE_BYE)).code == "idle"


def test_while_one_side_lacks_something_they_stay_longer() -> None:
    talk = Talk(known(me=1))
    talk.greeted()  # the peer lacks our dot, and asks somebody else for it
    while not said(talk.at_deadline(), Bye):
        talk.hears(Pong())
    assert talk.now == SETTINGS.linger + SETTINGS.reask_timeout


def test_what_is_applied_is_activity() -> None:
    talk = Talk(known(third=2))
    talk.greeted(known(third=2))
    talk.pulls.pend(known(third=2), {PEER: 1}, known(third=1), now=0)
    assert said(talk.told(KnownChanged()), Known) == []
    talk.now = SETTINGS.linger + 1
    assert talk.told(Applied(0, 0)) == []
    assert talk.conversation.deadline > talk.now + SETTINGS.linger - 2


def test_nobody_leaves_while_a_round_is_open() -> None:
    talk = pulling()
    assert talk.conversation.deadline == SETTINGS.keepalive
    server = Talk()
    server.greeted()
    server.hears(Want(1, None))
    assert server.conversation.deadline == SETTINGS.keepalive


@pytest.mark.parametrize("code", [code for code in BYE_CODES if code not in ("idle", "forgotten")])
def test_any_other_bye_is_not_answered(code: str) -> None:
    talk = Talk()
    talk.greeted()
    assert talk.hears(Bye("why", code)) == end(code, "why", by_peer=True)


def test_whom_the_cluster_has_forgotten_takes_a_new_origin() -> None:
    talk = Talk()
    talk.greeted()
    assert talk.hears(Bye("why", "forgotten"))[-2:] == [
        Fork(was_forgotten=True),
        Close("forgotten", "why", by_peer=True),
    ]


def test_who_was_forgotten_is_told_so_before_anything_else() -> None:
    talk = Talk(known(me=3))
    talk.node.roster.heard_of(PEER, "peer")
    talk.node.roster.forget(PEER)
    talk.starts()
    effects = talk.hears(hello())
    (bye,) = said(effects, Bye)
    assert bye.code == "forgotten"
    assert f"origin {PEER:016x}" in bye.reason
    assert talk.link == "parting"
    effects += talk.told(Lost("closed"))
    assert effects[-1] == Close("forgotten", bye.reason)
    assert not any(isinstance(effect, Fork) for effect in effects), "it is not this node's turn"


def parting() -> Talk:
    """A conversation whose peer was told that it is forgotten."""
    talk = Talk(known(me=3))
    talk.node.roster.heard_of(PEER, "peer")
    talk.node.roster.forget(PEER)
    talk.starts()
    talk.hears(hello())
    return talk


def test_two_that_have_forgotten_each_other_both_take_a_new_origin() -> None:
    """Each finds it out at once from the other's greeting; who closed on that would never read that
    it was forgotten itself, and neither would ever do anything about it."""
    talk = parting()
    assert talk.hears(Bye("you too", "forgotten"))[-2:] == [
        Fork(was_forgotten=True),
        Close("forgotten", "you too", by_peer=True),
    ]


def test_whoever_was_told_that_it_is_forgotten_says_nothing_more_that_counts() -> None:
    talk = parting()
    assert talk.hears(Known(known(peer=2))) == talk.hears(Ping()) == []
    assert talk.told(KnownChanged()) == talk.told(RosterChanged()) == []
    (close,) = [one for one in talk.hears(Bye("well", "idle")) if isinstance(one, Close)]
    assert close.code == "forgotten" and not close.by_peer
    silent = parting()
    assert closing(silent.at_deadline()).code == "forgotten"
    assert silent.now == SETTINGS.connect_timeout
    for message in (Want(1, None), hello()):
        assert closing(parting().hears(message)).code == "forgotten"


def test_a_bye_may_come_at_any_time() -> None:
    for prepare in (Talk.starts, Talk.greeted):
        talk = Talk()
        prepare(talk)
        assert talk.hears(Bye("full", "busy"))[-1] == Close("busy", "full", by_peer=True)


@pytest.mark.parametrize("code", ["closing", "busy", "protocol"])
def test_the_driver_may_stop_it_at_any_time(code: str) -> None:
    for prepare in (lambda talk: None, Talk.starts, Talk.greeted):
        talk = Talk()
        prepare(talk)
        assert talk.told(Stop(code, "why")) == [  # type: ignore[arg-type]
            Send(Bye("why", code)),
            *end(code, "why"),
        ]


def test_a_long_reason_is_cut_and_whatever_it_is_it_can_be_sent() -> None:
    talk = Talk()
    talk.greeted()
    (bye,) = said(talk.told(Stop("closing", "ä" * 1000 + "\udcff")), Bye)
    assert bye.reason == "ä" * 500


# The end


def test_after_close_nothing_happens_any_more() -> None:
    talk = Talk()
    talk.greeted(known(peer=1))
    talk.told(Lost("cut"))
    assert talk.hears(Known(known(peer=9))) == []
    assert talk.told(KnownChanged()) == []
    assert talk.told(Applied(0, 0)) == []
    assert talk.told(Lost("again")) == []
    assert talk.waits(1000) == []
    assert talk.conversation.deadline == inf


def test_a_source_never_outlives_its_conversation() -> None:
    opening = Talk()
    opening.greeted()
    opening.hears(Want(1, None))
    assert opening.told(Lost("cut")) == [CloseSource(), *end("lost", "cut")]
    assert opening.told(SourceOpened(NOTHING, {})) == []
    walking = Talk(known(me=1))
    walking.greeted()
    walking.hears(Want(1, None))
    walking.told(SourceOpened(known(me=1), {}))
    assert CloseSource() in walking.hears(Bye("", "closing"))
    assert walking.told(ChunkRead(chunk(b"k"))) == []


def test_the_close_waits_for_what_is_being_applied() -> None:
    """Else another conversation could get its turn in the middle of a full-state round."""
    for answer in (Applied(1, 1), "failed"):
        talk = pulling(known(peer=1))
        talk.hears(Records(1, chunk(b"k")))
        (finish,) = talk.hears(End(1))
        assert talk.told(Stop("closing", "")) == [Send(Bye("", "closing"))]
        assert talk.hears(Ping()) == []
        assert talk.told(KnownChanged()) == []
        assert talk.conversation.deadline == inf
        event = StoreFailed(finish, CommitError("full")) if answer == "failed" else answer
        assert talk.told(event) == end("closing", "")  # type: ignore[arg-type]


def test_what_waits_to_be_applied_is_dropped_at_the_end() -> None:
    talk = pulling()
    for number in range(5):
        talk.hears(Records(1, chunk(b"k%d" % number, size=200)))
    assert not talk.conversation.wants_input
    talk.told(Stop("closing", ""))
    assert talk.conversation.wants_input, "so that the peer's Bye is read"
    assert talk.told(Applied(1, 1)) == end("closing", "")


def test_a_record_that_no_peer_takes_ends_it_with_the_reason() -> None:
    talk = Talk(known(me=1))
    talk.greeted()
    talk.hears(Want(1, None))
    talk.told(SourceOpened(known(me=1), {}))
    too_large = replace(chunk(b"the key"), size_bytes=FRAME_BYTES_MAX)
    effects = talk.told(ChunkRead(too_large))
    assert closing(effects).code == "refused"
    assert "the key" in said(effects, Bye)[0].reason
    assert CloseSource() in effects


def test_a_failing_store_ends_it_and_keeps_the_reason_to_itself() -> None:
    talk = pulling(known(peer=1))
    talk.hears(Records(1, chunk(b"k")))
    (finish,) = talk.hears(End(1))
    effects = talk.told(StoreFailed(finish, CommitError("no space on /secret/path")))
    assert effects == [
        Send(Bye("the store of this node failed", "closing")),
        *end("failed", "no space on /secret/path"),
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ForkedContentsError("two forks"), "refused"),
        (ProtocolError("values are missing"), "protocol"),
        (OSError("of any kind"), "failed"),
    ],
)
def test_what_an_error_of_the_store_means(error: Exception, code: str) -> None:
    talk = pulling(known(peer=1))
    (finish,) = talk.hears(End(1))
    assert closing(talk.told(StoreFailed(finish, error))) == Close(code, str(error))  # type: ignore[arg-type]


def test_a_failing_source_ends_it() -> None:
    talk = Talk()
    talk.greeted()
    (opening,) = talk.hears(Want(1, None))
    effects = talk.told(StoreFailed(opening, OSError("closed")))
    assert CloseSource() in effects
    assert closing(effects).code == "failed"


def test_a_show_that_fails_ends_it_while_something_is_being_applied() -> None:
    talk = pulling(known(peer=1))
    talk.hears(Records(1, chunk(b"k")))
    talk.hears(End(1))
    talk.node.known.update(known(me=1))
    show, _ = talk.told(KnownChanged())
    assert said(talk.told(StoreFailed(show, CommitError("full"))), Bye)
    assert talk.link == "ending"
    assert closing(talk.told(Applied(1, 1))).code == "failed"


# Signs of life


def test_a_silent_peer_is_probed_and_dropped() -> None:
    talk = Talk(settings=SETTINGS_THAT_LINGER)
    talk.greeted()
    moments = []
    effects: list[Effect] = []
    while not effects or not isinstance(effects[-1], Close):
        effects = talk.at_deadline()
        moments.append((talk.now, effects[0]))
    assert moments[:2] == [(10, Send(Ping())), (20, Send(Ping()))]
    assert talk.now == 30
    assert closing(effects).code == "silent"
    assert said(effects, Bye)[0].code == "closing"


def test_a_ping_is_answered() -> None:
    talk = Talk()
    talk.greeted()
    assert talk.hears(Ping()) == [Send(Pong())]
    assert talk.hears(Pong()) == []
    comparing = Talk()
    comparing.starts()
    comparing.hears(hello())
    assert comparing.hears(Ping()) == [Send(Pong())]


def test_signs_of_life_keep_nobody_from_leaving() -> None:
    talk = Talk()
    talk.greeted()
    for _ in range(4):
        talk.now += 1
        talk.hears(Ping())
        talk.hears(Pong())
    assert talk.at_deadline() == [Send(IDLE_BYE)]
    assert talk.now == SETTINGS.linger


def test_what_the_peer_says_keeps_the_conversation_open_and_parts_of_it_do_not() -> None:
    talk = Talk(known(me=1))
    talk.greeted(known(me=1))
    talk.now = 3
    talk.told(Heard())
    assert talk.conversation.deadline == SETTINGS.linger
    assert talk.hears(Known(known(me=1))) == []
    assert talk.conversation.deadline == 3 + SETTINGS.linger


def test_whoever_speaks_need_not_ping() -> None:
    talk = Talk(settings=SETTINGS_THAT_LINGER)
    talk.greeted()
    talk.now = 9
    talk.hears(Ping())
    assert talk.conversation.deadline == 19


def test_parts_of_a_large_message_are_signs_of_life() -> None:
    talk = pulling(settings=SETTINGS_THAT_LINGER)
    for _ in range(20):
        assert closed(talk.waits(9)) is None
        talk.told(Heard())
    assert closed(talk.waits(31)) is not None


def test_a_peer_that_owes_a_message_of_a_round_is_dropped() -> None:
    """It answers every ping, and never the question."""
    talk = Talk()
    talk.greeted(known(peer=1))
    effects: list[Effect] = []
    while closed(effects) is None:
        talk.hears(Pong())
        effects = talk.at_deadline()
    assert talk.now == 3 * SETTINGS.reask_timeout
    assert closing(effects).code == "silent"


def test_a_peer_that_is_not_read_is_not_silent() -> None:
    talk = pulling()
    for number in range(5):
        talk.hears(Records(1, chunk(b"k%d" % number, size=200)))
    assert not talk.conversation.wants_input
    for _ in range(20):
        assert talk.waits(SETTINGS.keepalive) == [Send(Ping())], "but it hears from us"
    talk.told(Applied(1, 1))
    assert talk.conversation.wants_input
    assert talk.waits(SETTINGS.keepalive) == [Send(Ping())]
    assert said(talk.waits(2 * SETTINGS.keepalive), Bye)


def closed(effects: list[Effect]) -> Close | None:
    return next((effect for effect in effects if isinstance(effect, Close)), None)


# Rubbish


ROUND: list[Message] = [
    Begin(1, known(peer=1), {}, False),
    Records(1, chunk(b"k")),
    End(1),
    Want(1, None),
]


@pytest.mark.parametrize("message", [*ROUND, Known(NOTHING), Ping(), Pong()], ids=repr)
def test_nothing_comes_before_a_hello(message: Message) -> None:
    talk = Talk()
    talk.starts()
    assert closing(talk.hears(message)).code == "protocol"


@pytest.mark.parametrize("message", [*ROUND, hello()], ids=lambda m: type(m).__name__)
def test_nothing_comes_before_a_known_set(message: Message) -> None:
    talk = Talk()
    talk.starts()
    talk.hears(hello())
    assert closing(talk.hears(message)).code == "protocol"


@pytest.mark.parametrize("message", [*ROUND[:3], hello()], ids=lambda m: type(m).__name__)
def test_a_message_without_a_place_ends_it(message: Message) -> None:
    talk = Talk()
    talk.greeted()
    effects = talk.hears(message)
    close = closing(effects)
    assert close.code == "protocol"
    assert type(message).__name__ in close.reason
    assert effects[0] == Send(Bye(close.reason, "protocol"))


def test_nothing_is_received_before_the_start() -> None:
    assert closing(Talk().hears(hello())).code == "protocol"


def test_one_round_is_served_at_a_time() -> None:
    talk = Talk()
    talk.greeted()
    talk.hears(Want(1, None))
    assert closing(talk.hears(Want(2, None))).code == "protocol"


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        (Begin(1, known(peer=4), {}, False), "lacks what was announced"),
        (Begin(1, known(third=9), {}, True), "lacks what was announced"),
        (Begin(2, known(peer=5), {}, False), "round 2 was not asked for"),
    ],
)
def test_a_begin_that_contradicts_itself_or_what_was_said(begin: Begin, words: str) -> None:
    talk = Talk()
    talk.greeted(known(peer=5))
    close = closing(talk.hears(begin))
    assert close.code == "protocol"
    assert words in close.reason


@pytest.mark.parametrize(
    "message", [Records(2, chunk(b"k")), End(2), Begin(1, known(peer=9), {}, False)]
)
def test_messages_of_a_round_that_is_not_open(message: Message) -> None:
    assert closing(pulling().hears(message)).code == "protocol"


def test_a_message_after_the_end_of_its_round() -> None:
    talk = pulling()
    talk.hears(End(1))
    talk.hears(Records(1, chunk(b"k")))
    assert closing(talk.told(Applied(0, 0))).code == "protocol"


def test_a_driver_that_answers_what_was_not_asked_is_told() -> None:
    for event in (SourceOpened(NOTHING, {}), ChunkRead(None), Applied(0, 0)):
        talk = Talk()
        talk.greeted()
        with pytest.raises(UsageError):
            talk.told(event)
    with pytest.raises(UsageError):
        talk = Talk()
        talk.starts()
        talk.starts()


local_events: st.SearchStrategy[Event] = st.sampled_from(
    [KnownChanged(), Poke(), Heard(), Lost("cut"), Stop("closing", "")]
)


@given(st.lists(messages | local_events | st.floats(0, 40), max_size=12), st.data())
def test_whatever_a_peer_says_nothing_is_raised(
    script: list[Message | Event | float], data: st.DataObject
) -> None:
    """Strangers, peers that have greeted, peers within a round: any messages in any order."""
    talk = Talk(known(me=3))
    match data.draw(st.sampled_from(["stranger", "greeted", "round", "serving"])):
        case "stranger":
            talk.starts()
        case "greeted":
            talk.greeted(known(peer=2))
        case "round":
            talk.greeted(known(peer=2))
            talk.hears(Begin(1, known(peer=2), {}, data.draw(st.booleans())))
        case "serving":
            talk.greeted(known(peer=2))
            talk.hears(Want(1, None))
    over = False
    for item in script:
        if isinstance(item, float):
            effects = talk.waits(item)
        elif isinstance(item, Message):
            effects = talk.hears(item)
        else:
            effects = talk.told(item)
        assert not (over and effects)
        for effect in effects:
            assert not over, "an effect after Close"
            over = isinstance(effect, Close)
        assert over or talk.conversation.deadline >= talk.now or talk.conversation.tick(talk.now)
