"""The RESP reader takes any bytes, cut anywhere, and gives requests or one error."""

import tracemalloc
from itertools import pairwise
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import ProtocolError
from replicator.faces.redis.limits import (
    RESP_ARGUMENTS_MAX,
    RESP_INLINE_BYTES_MAX,
    RESP_REQUEST_BYTES_MAX,
)
from replicator.faces.resp import (
    ARGUMENT_OVERHEAD_BYTES,
    Failure,
    Reply,
    Request,
    RequestReader,
    Status,
    encode,
    encode_request,
    split_words,
)

REQUESTS = st.lists(st.lists(st.binary(max_size=30), min_size=1, max_size=5), max_size=6)
GRAMMAR = st.lists(
    st.sampled_from(
        [
            *(b"%c" % byte for byte in b"*$>%~|:+-_ 0123\r\n\0\"'"),
            b"\r\n",
            b"9" * 20,
            b"-1",
            b"PING",
            b"\\x",
        ]
    ),
    max_size=40,
).map(b"".join)


def read(*pieces: bytes) -> tuple[list[Request], str | None]:
    reader = RequestReader()
    requests = [request for piece in pieces for request in reader.feed(piece)]
    return requests, None if reader.error is None else str(reader.error)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(bounds)]


@given(REQUESTS, st.lists(st.integers(min_value=0)))
def test_requests_arrive_as_they_were_sent_however_they_are_cut(
    requests: list[Request], places: list[int]
) -> None:
    stream = b"".join(encode_request(*request) for request in requests)
    assert read(*cut(stream, places)) == (requests, None)


@given(st.binary() | GRAMMAR, st.lists(st.integers(min_value=0)))
def test_any_bytes_give_requests_or_one_error_and_cuts_do_not_matter(
    data: bytes, places: list[int]
) -> None:
    requests, error = read(data)
    assert read(*cut(data, places)) == (requests, error)
    assert all(request and all(type(item) is bytes for item in request) for request in requests)


@given(REQUESTS, st.binary() | GRAMMAR)
def test_requests_before_a_mistake_are_delivered(requests: list[Request], rubbish: bytes) -> None:
    stream = b"".join(encode_request(*request) for request in requests)
    found, _ = read(stream + rubbish)
    assert found[: len(requests)] == requests


@pytest.mark.parametrize(
    "data",
    [
        b">1000000000\r\n",
        b"*1\r\n>1000000000\r\n",
        b"*1000000000\r\n",
        b"*4000000000\r\n",
        b"*1\r\n$1000000000\r\n",
        b"*1\r\n*1\r\n*1\r\n$1\r\na\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n+PING\r\n",
        b"*1\r\n%1\r\n*1\r\n:1\r\n:1\r\n",
        b"*01\r\n$1\r\na\r\n",
        b"*+1\r\n",
        b"*1_0\r\n",
        b"* 1\r\n",
        b"*-2\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$1\r\nabc",
        b"*" + b"1" * 40,
        b"*1\r\n$" + b"1" * 40,
        b"x" * RESP_INLINE_BYTES_MAX,
        b'PING "never ends\r\n',
    ],
)
def test_what_no_client_sends_is_refused_before_it_costs_anything(data: bytes) -> None:
    tracemalloc.start()
    try:
        requests, error = read(data + b"\r\n" * 40)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Rubbish that is no array is an inline request, of a command that nobody has.
    assert error is not None or requests == [[data.strip()]]
    assert peak < 2_000_000


def test_limits_are_exact() -> None:
    assert read(b"*%d\r\n" % RESP_ARGUMENTS_MAX) == ([], None)
    assert read(b"*%d\r\n" % (RESP_ARGUMENTS_MAX + 1))[1] is not None
    assert read(b"*1\r\n$%d\r\n" % RESP_REQUEST_BYTES_MAX) == ([], None)
    assert read(b"*1\r\n$%d\r\n" % (RESP_REQUEST_BYTES_MAX + 1))[1] is not None
    half = RESP_REQUEST_BYTES_MAX // 2
    first = b"*2\r\n$%d\r\n%s\r\n" % (half, bytes(half))
    assert read(first + b"$%d\r\n" % half) == ([], None)
    assert read(first + b"$%d\r\n" % (half + 1))[1] is not None


def test_a_large_value_in_small_pieces_is_not_looked_at_again_and_again() -> None:
    class Counting(RequestReader):
        looked_at = 0

        def _scan(self, data: bytes, position: int, *arguments: Any) -> int:
            self.looked_at += len(data) - position
            return super()._scan(data, position, *arguments)

    value = bytes(1 << 20)
    stream = encode_request(b"SET", b"k", value)
    reader = Counting()
    requests = [r for i in range(0, len(stream), 1000) for r in reader.feed(stream[i : i + 1000])]
    assert requests == [[b"SET", b"k", value]]
    assert reader.looked_at < 2 * len(stream)


def test_what_a_request_that_has_begun_takes_is_known() -> None:
    reader = RequestReader()
    assert reader.held == 0
    reader.feed(b"*2\r\n$4\r\nECHO\r\n")
    assert reader.held == 4 + ARGUMENT_OVERHEAD_BYTES
    reader.feed(b"$4\r\nPI")
    assert reader.held == 4 + ARGUMENT_OVERHEAD_BYTES + 6
    assert reader.feed(b"NG\r\n") == [[b"ECHO", b"PING"]]
    assert reader.held == 0


def test_inline_and_array_requests_may_alternate_in_one_read() -> None:
    stream = b"PING\r\n*1\r\n$4\r\nPING\r\nECHO hi\n\r\n*0\r\n*-1\r\n*1\r\n$1\r\nx\r\n"
    assert read(stream) == ([[b"PING"], [b"PING"], [b"ECHO", b"hi"], [b"x"]], None)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b"  \t\r", []),
        (b"set k v\r", [b"set", b"k", b"v"]),
        (b'set "a b" "\\x00\\n\\"\\\\"', [b"set", b"a b", b'\0\n"\\']),
        (b"set 'it\\'s' 'a\\n'", [b"set", b"it's", b"a\\n"]),
        (b'get ""', [b"get", b""]),
    ],
)
def test_inline_words(line: bytes, words: list[bytes]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize("line", [b'"', b"'", b'"a"b', b"'a'b", b'x "\\"'])
def test_unbalanced_quotes(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="unbalanced"):
        split_words(line)


REPLIES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


def seen(reply: Reply, protocol: int) -> object:
    """What a client makes of a reply."""
    if isinstance(reply, dict):
        items = {key.encode(): seen(value, protocol) for key, value in reply.items()}
        return items if protocol == 3 else [part for item in items.items() for part in item]
    if isinstance(reply, list):
        return [seen(item, protocol) for item in reply]
    if protocol == 2 and isinstance(reply, float):
        return repr(reply).encode()
    return reply


@given(REPLIES, st.sampled_from([2, 3]))
def test_hiredis_reads_every_reply(reply: Reply, protocol: int) -> None:
    reader = hiredis.Reader()
    reader.feed(encode(reply, protocol))
    assert reader.gets() == seen(reply, protocol)
    assert not reader.has_data()


def test_words_and_errors_stay_one_line() -> None:
    assert encode(Status("OK"), 2) == b"+OK\r\n"
    assert encode(Failure("ERR", "a\r\n+OK\nb"), 3) == b"-ERR a  +OK b\r\n"
    assert encode(Failure("ERR", "\x1b[2J ü \udc80"), 2) == "-ERR \\x1b[2J ü \\udc80\r\n".encode()
    assert encode("ü", 3) == "$2\r\nü\r\n".encode()
