"""Every message has its bytes; any bytes are a message or a protocol error."""

import tracemalloc
from dataclasses import fields

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replicator.config import CHUNK_RECORDS_MAX, COMPARE_RANGES_MAX, KEY_BYTES_MAX, ORIGINS_MAX
from replicator.core.compare import Part, Range
from replicator.core.dots import SEQ_MAX
from replicator.core.known import KnownSet
from replicator.core.members import Member
from replicator.errors import ProtocolError
from replicator.protocol.codec import decode, encode
from replicator.protocol.messages import (
    BYE_CODES,
    REASON_BYTES_MAX,
    Accounts,
    Begin,
    Bye,
    Call,
    Closed,
    Compare,
    Digest,
    Durable,
    End,
    Hello,
    Known,
    Members,
    Message,
    Ping,
    Pong,
    Records,
    Revisions,
    Secure,
    Verdict,
    Want,
    WantFull,
)
from tests.protocol.samples import chunk, hello, known_sets, messages

ORIGIN = bytes(7) + b"\5"

GOLDEN: list[tuple[Message, str]] = [
    (
        Hello(
            versions=(1, 1),
            cluster="default",
            cluster_id=b"\1\2",
            node="n1",
            origin=5,
            instance=b"instance",
            resolver="default",
            explicit=False,
            has_data=True,
            wall_ms=1_700_000_000_000,
            block_hashes=[b"8 bytes!"] + [b""] * 15,
            members=b"8 bytes.",
            port=9000,
            dialled="b:1",
        ),
        "9f 01 92 01 01 a7 64656661756c74 c402 0102 a2 6e31 c408 0000000000000005"
        "c408 696e7374616e6365 a7 64656661756c74 c2 c3 cf 0000018bcfe56800"
        "dc0010 c408 3820627974657321" + " c400" * 15 + "c408 382062797465732e cd 2328 a3 623a31",
    ),
    (
        Known(KnownSet({5: [1, 5, 9, 10], 2**64 - 1: [7, 2**63]})),
        "92 02 82 c408 0000000000000005 94 01 04 04 01"
        "         c408 ffffffffffffffff 92 07 cf 7ffffffffffffff9",
    ),
    (Want(1, KnownSet({5: [2, 3]})), "93 03 01 81 c408 0000000000000005 92 02 01"),
    (Want(1, None), "93 03 01 c0"),
    (
        Begin(2, KnownSet({5: [1, 3]}), {5: 1}, True),
        "95 04 02 81 c408 0000000000000005 92 01 02 81 c408 0000000000000005 01 c3",
    ),
    (
        Records(3, chunk(b"k", size=1, number=9, origin=5)),
        "93 05 03 94 81 09 c408 0000000000000005 91 c401 6b 91 c408 726f77206f66206b 91 c401 76",
    ),
    (End(4), "92 06 04"),
    (Bye("why", "idle"), "93 07 a3 776879 a4 69646c65"),
    (Ping(), "91 08"),
    (Pong(), "91 09"),
    (Revisions({5: 7}), "92 0a 81 c408 0000000000000005 07"),
    (Call((5, 6)), "92 0b 92 c408 0000000000000005 c408 0000000000000006"),
    (
        Members((Member(5, 7, "n", 1, 2, "0.1", ("h:1",), KnownSet({5: [1, 3]})),)),
        "92 0c 91 98 c408 0000000000000005 07 a1 6e 01 02 a3 302e31 91 a3 683a31"
        "81 c408 0000000000000005 92 01 02",
    ),
    (
        Compare(
            6,
            (
                Part(None, (Range(b"k", 2, b"16 bytes, so so!"), Range(b"m", 0, b"x" * 16))),
                Part(b"p", (Range(None, 300, b"y" * 16),)),
            ),
        ),
        "93 0f 06 92"
        "97 c0 c401 6b 02 c410 31362062797465732c20736f20736f21 c401 6d 00 c410" + "78" * 16 + ""
        "94 c401 70 c0 cd012c c410" + "79" * 16,
    ),
    (Verdict(6, bytes([0, 2, 1])), "93 10 06 c403 000201"),
    (
        Digest("ask", 1, 1_700_000_000_000, b"k" * 16, b"d" * 16),
        "96 11 a3 61736b 01 cf 0000018bcfe56800 c410" + "6b" * 16 + "c410" + "64" * 16,
    ),
    (
        Accounts(
            (
                Member(
                    5, 7, "n", 1, 2, "0.1", ("h:1",), KnownSet({5: [1, 3]}), KnownSet({6: [2, 3]})
                ),
            )
        ),
        "92 0d 91 99 c408 0000000000000005 07 a1 6e 01 02 a3 302e31 91 a3 683a31"
        "81 c408 0000000000000005 92 01 02 81 c408 0000000000000006 92 02 01",
    ),
    (Closed(KnownSet({5: [2, 3]})), "92 0e 81 c408 0000000000000005 92 02 01"),
    (Durable(KnownSet({5: [1, 3]})), "92 12 81 c408 0000000000000005 92 01 02"),
    (Secure(KnownSet({5: [2, 3]})), "92 13 81 c408 0000000000000005 92 02 01"),
    (WantFull(5), "92 14 05"),
]


@pytest.mark.parametrize(("message", "golden"), GOLDEN, ids=lambda x: type(x).__name__)
def test_golden_bytes(message: Message, golden: str) -> None:
    assert encode(message).hex() == bytes.fromhex(golden).hex()
    assert decode(bytes.fromhex(golden)) == message


@given(messages)
def test_what_is_encoded_is_decoded(message: Message) -> None:
    assert decode(encode(message)) == message


def accepted_or_refused(payload: bytes) -> None:
    """The oracle of the fuzz: a message that means the same bytes, or a protocol error."""
    try:
        message = decode(payload)
    except ProtocolError:
        return
    assert decode(encode(message)) == message


@given(st.binary(max_size=300))
@example(b"")
@example(b"\xc1")
@example(b"\x91" * 2000)
@example(b"\x92\x02\xdf\xff\xff\xff\xff")
@example(b"\x92\x02\x81\xc4\x08" + ORIGIN + b"\xdd\xff\xff\xff\xfe")
@example(b"\x93\x05\x01\x94\x80\xdd\xff\xff\xff\xff")
@example(b"\x91\xc7\x00\xff")
@example(b"\x93\x07\xa1\xff\xa4idle")
def test_any_bytes_are_a_message_or_a_protocol_error(payload: bytes) -> None:
    accepted_or_refused(payload)


@settings(max_examples=300)
@given(messages, st.data())
def test_damaged_messages_are_a_message_or_a_protocol_error(
    message: Message, data: st.DataObject
) -> None:
    payload = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(payload)))
        match data.draw(st.sampled_from(["flip", "cut", "insert"])):
            case "flip" if place < len(payload):
                payload[place] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del payload[place : place + data.draw(st.integers(1, 8))]
            case _:
                payload[place:place] = data.draw(st.binary(max_size=8))
    accepted_or_refused(bytes(payload))


_junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 9), inner),
    max_leaves=8,
)


@given(messages, st.data())
def test_a_field_replaced_by_anything_is_a_message_or_a_protocol_error(
    message: Message, data: st.DataObject
) -> None:
    items = msgpack.unpackb(encode(message), strict_map_key=False)
    items[data.draw(st.integers(0, len(items) - 1))] = data.draw(_junk)
    accepted_or_refused(msgpack.packb(items))


@pytest.mark.parametrize(
    "tiny",
    [
        "92 02 df ffffffff",  # a known set of 4 billion origins
        "92 02 81 c408 0000000000000005 dd 7ffffffe",  # one of a billion ranges
        "93 05 01 94 80 dc 01f4",  # 500 keys, and none there
        "93 05 01 94 80 91 c4016b 91 c40172 dd ffffffff",  # 4 billion values
        "93 05 01 94 80 91 c6 ffffffff",  # a key of 4 GB
        "93 07 db ffffffff",  # a text of 4 GB
        "dd ffffffff" * 1000,  # lists within lists, each of 4 billion
    ],
)
def test_a_tiny_frame_claims_no_memory(tiny: str) -> None:
    payload = bytes.fromhex(tiny)
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        decode(payload)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_memory_stays_in_proportion_to_a_large_frame_of_rubbish() -> None:
    payload = (
        b"\x93\x05\x01\x94\x80\x91\xc4\x01k\x91\xc4\x01r\xdd\x00\x0f\xff\xff" + b"\x90" * 2**20
    )
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        decode(payload)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * len(payload)


def refused(items: list[object]) -> str:
    with pytest.raises(ProtocolError) as caught:
        decode(msgpack.packb(items))
    return str(caught.value)


def test_a_message_has_exactly_its_fields() -> None:
    assert "1 fields, not 2" in refused([6, 1, 2])
    assert "1 fields, not 0" in refused([6])
    assert "no message with tag 99" in refused([99])
    assert "no message with tag 0" in refused([0])
    with pytest.raises(ProtocolError, match="bytes follow a Ping"):
        decode(encode(Ping()) + b"\x00")


def test_a_hello_of_a_later_version_may_say_more() -> None:
    message = hello(versions=(1, 2))
    items = msgpack.unpackb(encode(message))
    assert decode(msgpack.packb([*items, "later", [1, [2]], {b"x": None}])) == message
    assert "not 13" in refused(items[:-1])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (1, [0, 1]),
        (1, [2, 1]),
        (1, [1]),
        (2, "x" * 256),
        (2, b"default"),
        (3, b""),
        (3, b"x" * 33),
        (3, "text"),
        (5, b"7 bytes"),
        (5, 5),
        (6, b"7 bytes"),
        (8, 0),
        (10, -1),
        (10, 1.5),
        (11, [b""] * 15),
        (11, [b"x"] * 16),
    ],
)
def test_a_hello_is_checked_field_by_field(place: int, value: object) -> None:
    items = msgpack.unpackb(encode(hello()))
    items[place] = value
    refused(items)


@pytest.mark.parametrize(
    "bounds",
    [
        [],  # an origin of which nothing is known
        [1],
        [0, 1],
        [1, 0],
        [1, 4, 0, 1],  # ranges that touch
        [1, -1],
        [1, 1.0],
        [1, True],
        [1, SEQ_MAX + 1],
        [1, SEQ_MAX, 1, 1],
    ],
)
def test_bounds_are_checked(bounds: list[object]) -> None:
    refused([2, {ORIGIN: bounds}])


def test_the_greatest_seq_is_allowed() -> None:
    assert decode(msgpack.packb([2, {ORIGIN: [SEQ_MAX, 1]}])) == Known(KnownSet.of((5, SEQ_MAX)))


def test_origins_come_in_order_and_once() -> None:
    payload = bytes.fromhex("9202 82") + (b"\xc4\x08" + ORIGIN + b"\x92\x01\x01") * 2
    with pytest.raises(ProtocolError, match="an origin is 5"):
        decode(payload)
    assert "length of an origin" in refused([2, {b"short": [1, 1]}])


def test_there_are_limits_to_a_known_set() -> None:
    with pytest.raises(ProtocolError, match="number of origins"):
        decode(b"\x92\x02\xdf" + (ORIGINS_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(ProtocolError, match="number of bounds"):
        decode(b"\x92\x02\x81\xc4\x08" + ORIGIN + b"\xdd\x40\x00\x00\x00")


def test_a_floor_is_checked() -> None:
    assert "purge floor" in refused([4, 1, {}, {ORIGIN: 0}, False])
    assert "purge floor" in refused([4, 1, {}, {ORIGIN: None}, False])


def test_a_chunk_is_checked() -> None:
    origins: dict[int, bytes] = {1: ORIGIN}
    assert "number of keys" in refused([5, 1, [origins, [], [], []]])
    assert "number of rows" in refused([5, 1, [origins, [b"k"], [], []]])
    assert "columns" in refused([5, 1, [origins, [b"k"], [b"r"]]])
    assert "keys" in refused([5, 1, [origins, ["k"], [b"r"], []]])
    assert "rows" in refused([5, 1, [origins, [b"k"], [None], []]])
    assert "values" in refused([5, 1, [origins, [b"k"], [b"r"], [1]]])
    assert "number of keys" in refused([5, 1, [origins, [b"k"] * (CHUNK_RECORDS_MAX + 1), [], []]])
    assert "keys" in refused([5, 1, [origins, [b"k" * (KEY_BYTES_MAX + 1)], [b"r"], []]])
    assert "origin number" in refused([5, 1, [{2**32: ORIGIN}, [b"k"], [b"r"], []]])
    assert "an origin" in refused([5, 1, [{1: 5}, [b"k"], [b"r"], []]])


def test_a_round_has_a_number_from_one() -> None:
    assert "the round" in refused([6, 0])
    assert "the round" in refused([6, True])


def test_a_bye_is_checked() -> None:
    assert "no code" in refused([7, "why", "because"])
    assert "the reason" in refused([7, "x" * (REASON_BYTES_MAX + 1), "idle"])
    for code in BYE_CODES:
        assert decode(msgpack.packb([7, "", code])) == Bye("", code)


def test_ranges_are_checked() -> None:
    fingerprint = b"f" * 16
    assert "number of parts" in refused([15, 1, []])
    assert "part's fields" in refused([15, 1, [[None]]])
    assert "whole number of ranges" in refused([15, 1, [[None, b"k", 1, fingerprint, b"l"]]])
    assert "a bound" in refused([15, 1, [["k", None, 1, fingerprint]]])
    assert "a bound" in refused([15, 1, [[None, b"k" * (KEY_BYTES_MAX + 1), 1, fingerprint]]])
    assert "records of a range" in refused([15, 1, [[None, None, -1, fingerprint]]])
    assert "records of a range" in refused([15, 1, [[None, None, 2**16 + 1, fingerprint]]])
    assert "a fingerprint" in refused([15, 1, [[None, None, 1, b"short"]]])
    one = [None, *[None, 1, fingerprint] * (COMPARE_RANGES_MAX - 1)]
    assert decode(msgpack.packb([15, 1, [one, [None, None, 1, fingerprint]]]))
    assert "part's fields" in refused([15, 1, [one, [None, *[None, 1, fingerprint] * 2]]])


def test_verdicts_are_checked() -> None:
    assert "the verdicts" in refused([16, 1, b""])
    assert "the verdicts" in refused([16, 1, b"\0" * (COMPARE_RANGES_MAX + 1)])
    assert "says something" in refused([16, 1, b"\0\3"])


def test_a_digest_is_checked() -> None:
    assert "no step" in refused([17, "why", 1, 0, b"", b""])
    assert "the moment" in refused([17, "ask", 1, -1, b"", b""])
    assert "a hash" in refused([17, "ask", 1, 0, b"short", b""])
    assert "a hash" in refused([17, "ask", 1, 0, b"", b"x" * 17])


@given(known_sets())
def test_a_decoded_known_set_is_the_receivers_own(known: KnownSet) -> None:
    """What a message holds may be kept by whoever sent it: nobody may change it."""
    message = decode(encode(Known(known)))
    assert isinstance(message, Known)
    message.known.add(1, 1)
    message.known.add(1, 3)
    assert decode(encode(Known(known))) == Known(known)


def test_there_is_a_golden_message_of_every_kind() -> None:
    assert {type(message) for message, _ in GOLDEN} == set(Message.__args__)
    assert len(fields(Hello)) == len(msgpack.unpackb(encode(hello()))) - 1
