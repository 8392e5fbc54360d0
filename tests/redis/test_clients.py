"""The clients of the server over real sockets: what is read, sent, and given up."""

import gc
import resource
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import cast

import pytest
import trustme

from replicator.faces.access import Role
from replicator.faces.redis import clients as module
from replicator.faces.redis.client import Client
from replicator.faces.redis.clients import Clients
from replicator.faces.redis.entrances import Entrance
from replicator.faces.redis.hub import Hub
from replicator.faces.redis.limits import (
    RESP_DESCRIPTORS_LEFT,
    RESP_OUTPUT_BYTES_MAX,
    RESP_STALL_SECONDS,
    RESP_STRANGER_BYTES_MAX,
    RESP_STRANGER_SECONDS,
)
from replicator.faces.redis.shared import Shared
from replicator.faces.resp import encode_request

PATIENCE_SECONDS = 10.0


class Echo:
    """Clients of a server that answers every request with its last word."""

    def __init__(self, path: Path, tls: ssl.SSLContext | None, role: Role | None) -> None:
        if tls is None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
        else:
            listener = socket.create_server(("127.0.0.1", 0))
        listener.listen(100)
        self.address = listener.getsockname()
        shared = cast(Shared, SimpleNamespace(hub=Hub(), idle_seconds=0))
        self.clients = Clients(shared, [Entrance(listener, lambda: role, tls)], 100_000)
        self.holds: set[int] = set()

    def connect(self) -> socket.socket:
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        client = socket.socket(family)
        client.settimeout(PATIENCE_SECONDS)
        try:
            client.connect(self.address)
        except OSError:
            client.close()
            raise
        return client

    def step(self) -> bool:
        """What a server does between two waits. Whether there was anything."""
        happened = self.clients.look()
        for _ in range(len(self.clients.ready)):
            client = self.clients.ready.popleft()
            client.is_ready = False
            if client.number in self.holds:
                client.is_busy = True
            while client.requests and not client.is_busy:
                word = client.requests.popleft()[-1]
                client.parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
            self.clients.flush(client)
        return happened

    def until(self, condition: Callable[[], object]) -> None:
        deadline = monotonic() + PATIENCE_SECONDS
        while not condition():
            assert monotonic() < deadline
            if not self.step():
                sleep(0.001)

    def settled(self) -> None:
        """Until nothing more happens."""
        while self.step():
            assert len(self.clients._decrypted) < 1000
        sleep(0.005)
        assert not self.step()

    def only(self) -> Client:
        (client,) = self.clients
        return client


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Echo]]:
    made: list[Echo] = []

    def make(tls: ssl.SSLContext | None = None, role: Role | None = Role.ADMIN) -> Echo:
        made.append(Echo(tmp_path / f"{len(made)}.sock", tls, role))
        return made[-1]

    yield make
    for echo in made:
        echo.clients.close()


@pytest.fixture
def echo(make: Callable[..., Echo]) -> Echo:
    return make()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def request(word: bytes) -> bytes:
    return encode_request(b"ECHO", word)


def reply(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)


def received(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size and (part := connection.recv(min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def closed(connection: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Beside:
    """Something that runs in another thread while the server steps in this one."""

    def __init__(self, echo: Echo, run: Callable[[], object]) -> None:
        self._results: list[object] = []
        self._thread = threading.Thread(target=lambda: self._results.append(run()))
        self._thread.start()
        echo.until(lambda: not self._thread.is_alive())

    @property
    def result(self) -> object:
        (result,) = self._results
        return result


def test_requests_are_answered(echo: Echo) -> None:
    with echo.connect() as client:
        client.sendall(request(b"one") + request(b"two"))
        echo.settled()
        assert received(client, 18) == reply(b"one") + reply(b"two")
        counts = echo.clients
        assert (len(counts), counts.accepted, counts.refused) == (1, 1, 0)
        assert (counts.bytes_in, counts.bytes_out, counts.waiting_bytes) == (46, 18, 0)
    echo.until(lambda: echo.clients.accepted and not len(echo.clients))


def test_who_only_stops_sending_gets_its_replies(echo: Echo) -> None:
    with echo.connect() as client:
        client.sendall(request(b"one"))
        client.shutdown(socket.SHUT_WR)
        echo.until(lambda: echo.clients.accepted and not len(echo.clients))
        assert closed(client) == reply(b"one")


def test_who_stops_sending_while_its_command_goes_on_gets_the_reply(echo: Echo) -> None:
    echo.holds.add(1)
    with echo.connect() as client:
        client.sendall(request(b"one"))
        client.shutdown(socket.SHUT_WR)
        echo.settled()
        held = echo.only()
        echo.holds.clear()
        held.is_busy = False
        echo.clients.flush(held)
        echo.until(lambda: echo.clients.accepted and not len(echo.clients))
        assert closed(client) == reply(b"one")


def test_who_leaves_while_its_command_goes_on_is_dropped_and_keeps_nobody_busy(echo: Echo) -> None:
    echo.holds.add(1)
    with echo.connect() as client:
        client.sendall(request(b"one") + request(b"two"))
        echo.settled()
        held = echo.only()
        assert held.is_busy and held.requests
    echo.until(lambda: held.is_gone)
    echo.settled()
    assert not len(echo.clients)


def test_what_was_sent_before_hanging_up_is_still_read(echo: Echo) -> None:
    seen = []
    with echo.connect() as client:
        client.sendall(request(b"one"))
    echo.clients.look()
    echo.clients.look()
    while echo.clients.ready:
        one = echo.clients.ready.popleft()
        seen += one.requests
        one.is_ready = False
        one.requests.clear()
        echo.clients.flush(one)
    assert seen == [[b"ECHO", b"one"]]
    echo.until(lambda: echo.clients.accepted and not len(echo.clients))


def test_who_does_not_read_is_not_run_any_more_until_it_does(echo: Echo) -> None:
    word = bytes(RESP_OUTPUT_BYTES_MAX // 4)
    with echo.connect() as client:
        Beside(echo, lambda: client.sendall(request(word) * 4))
        echo.until(lambda: echo.only().waiting_bytes > 3 * len(word))
        # One more makes it too much, and so much is never read from the socket.
        more = threading.Thread(target=lambda: client.sendall(request(word) * 3))
        more.start()
        echo.until(lambda: echo.only().is_stuffed)
        for _ in range(50):
            echo.step()
            sleep(0.001)
        stuffed = echo.only()
        assert more.is_alive()
        assert echo.clients.waiting_bytes == stuffed.waiting_bytes < 6 * len(word)
        answered = Beside(echo, lambda: received(client, 7 * len(reply(word)))).result
        assert answered == reply(word) * 7
        more.join()
        echo.settled()
        assert (stuffed.is_stuffed, echo.clients.waiting_bytes) == (False, 0)


def test_who_reads_nothing_for_long_is_dropped(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    with echo.connect() as client, echo.connect() as other:
        Beside(echo, lambda: client.sendall(request(bytes(60_000)) * 100))
        other.sendall(request(b"one"))
        echo.until(lambda: echo.clients.waiting_bytes > 5_000_000)
        echo.settled()
        now = monotonic()
        monkeypatch.setattr(module.time, "monotonic", lambda: now + RESP_STALL_SECONDS / 2)
        echo.clients.tidy()
        assert len(echo.clients) == 2
        monkeypatch.setattr(module.time, "monotonic", lambda: now + RESP_STALL_SECONDS + 1)
        echo.clients.tidy()
        assert (len(echo.clients), echo.clients.waiting_bytes) == (1, 0)
        assert received(other, len(reply(b"one"))) == reply(b"one")


def test_what_waits_is_counted_rightly_where_a_client_leaves_in_the_middle(echo: Echo) -> None:
    for _ in range(20):
        with echo.connect() as client:
            Beside(echo, lambda: client.sendall(request(bytes(60_000)) * 20))
            echo.until(lambda: echo.clients.waiting_bytes > 900_000)
        echo.until(lambda: echo.clients.accepted and not len(echo.clients))
        assert echo.clients.waiting_bytes == 0
    assert echo.clients._input_bytes == 0


def test_what_waits_is_counted_rightly_where_sending_breaks_in_the_middle(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter([3])

    def send(_data: object) -> int:
        for size in taken:
            return size
        raise BrokenPipeError

    with echo.connect() as client:
        echo.settled()
        ours = echo.only()
        monkeypatch.setattr(ours, "_sent", send)
        client.sendall(request(b"one"))
        echo.until(lambda: ours.is_gone)
    assert echo.clients.waiting_bytes == 0


@pytest.mark.parametrize(
    "begun",
    [
        b"*2\r\n$4\r\nAUTH\r\n$1000000\r\n" + bytes(RESP_STRANGER_BYTES_MAX),
        b"*1000\r\n" + b"$0\r\n\r\n" * 999,  # empty arguments take memory, too
    ],
)
def test_a_stranger_may_begin_nothing_large(make: Callable[..., Echo], begun: bytes) -> None:
    echo = make(role=None)
    with echo.connect() as client:
        client.sendall(begun)
        echo.until(lambda: echo.clients.accepted and not len(echo.clients))
        assert closed(client) == b"-NOAUTH Authentication required.\r\n"
    assert echo.clients._input_bytes == 0


def test_little_is_read_from_a_stranger_at_once(make: Callable[..., Echo]) -> None:
    echo = make(role=None)
    with echo.connect() as client:
        client.sendall(b"a\n" * 20_000)
        while not echo.clients.ready:
            echo.clients.look()
        assert len(echo.only().requests) <= 512
        answered = Beside(echo, lambda: received(client, 20_000 * len(reply(b"a")))).result
        assert answered == reply(b"a") * 20_000


def test_a_stranger_has_half_a_minute(
    make: Callable[..., Echo], monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = make(role=None)
    with echo.connect(), echo.connect():
        echo.until(lambda: len(echo.clients) == 2)
        first, _second = echo.clients
        first.mode = 0  # it has logged in
        now = monotonic()
        monkeypatch.setattr(module.time, "monotonic", lambda: now + RESP_STRANGER_SECONDS + 1)
        echo.clients.tidy()
        assert list(echo.clients) == [first]


def test_too_many_large_requests_at_once_end_one_of_them(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESP_INPUT_ALL_BYTES_MAX", 3_000_000)
    begun = b"*2\r\n$4\r\nECHO\r\n$2000000\r\n" + bytes(1_900_000)
    with echo.connect() as first, echo.connect() as second, echo.connect() as third:
        third.sendall(b"*2\r\n$4\r\nECHO\r\n$3\r\n")
        Beside(echo, lambda: first.sendall(begun))
        echo.until(lambda: echo.clients._input_bytes > 1_900_000)

        def overdo() -> None:
            with suppress(OSError):
                second.sendall(begun)

        threading.Thread(target=overdo).start()
        echo.until(lambda: len(echo.clients) == 2)
        assert closed(second) == b"-ERR too many large requests at the same time\r\n"
        first.sendall(bytes(100_000) + b"\r\n")
        third.sendall(b"one\r\n")
        assert Beside(echo, lambda: received(third, 9)).result == reply(b"one")
        assert Beside(echo, lambda: received(first, 2_000_012)).result == reply(bytes(2_000_000))
    assert echo.clients._input_bytes == 0


def test_a_protocol_error_is_told_behind_the_replies(echo: Echo) -> None:
    with echo.connect() as client:
        client.sendall(request(b"one") + b"*1\r\n:1\r\n" + request(b"two"))
        echo.until(lambda: echo.clients.accepted and not len(echo.clients))
        assert closed(client) == (reply(b"one") + b"-ERR Protocol error: expected '$', got ':'\r\n")


def test_a_mistake_of_ours_ends_one_client(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    with echo.connect() as client, echo.connect() as other:
        echo.until(lambda: len(echo.clients) == 2)
        first, _ = echo.clients
        monkeypatch.setattr(first.reader, "feed", lambda _data: 1 / 0)
        client.sendall(request(b"one"))
        other.sendall(request(b"one"))
        echo.settled()
        assert closed(client) == b""
        assert received(other, 9) == reply(b"one")


def test_draining_lets_nobody_in_and_reads_nothing_more(echo: Echo) -> None:
    echo.holds.add(1)
    with echo.connect() as client:
        client.sendall(request(b"one"))
        echo.settled()
        held = echo.only()
        echo.clients.begin_drain()
        with pytest.raises(OSError):
            echo.connect()
        client.sendall(request(b"two"))
        echo.settled()
        assert echo.clients.are_occupied
        echo.holds.clear()
        held.is_busy = False
        echo.clients.flush(held)
        echo.settled()
        assert received(client, 9) == reply(b"one")
        assert not echo.clients.are_occupied


def test_the_bell_wakes_from_any_thread(echo: Echo) -> None:
    echo.settled()
    threading.Thread(target=echo.clients.ring).start()
    echo.until(echo.step)
    assert not echo.step()


def test_ten_thousand_who_come_and_go_leave_nothing(echo: Echo) -> None:
    before = descriptors()
    kept: list[weakref.ref[Client]] = []
    for number in range(10_000):
        with echo.connect() as client:
            if number % 2:
                client.sendall(request(b"one") if number % 4 == 1 else b"*2\r\n$4\r\nEC")
            echo.step()
            if number % 100 == 0:
                kept += [weakref.ref(one) for one in echo.clients]
    echo.until(lambda: echo.clients.accepted and not len(echo.clients))
    assert echo.clients.accepted == 10_000
    assert descriptors() == before
    gc.collect()
    assert kept and not any(ref() for ref in kept)
    assert (echo.clients._input_bytes, echo.clients.waiting_bytes) == (0, 0)
    assert not echo.clients.ready and not echo.clients._decrypted


def test_as_many_as_there_are_descriptors_for(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    def limit(number: int) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _which: (number, number))

    limit(RESP_DESCRIPTORS_LEFT + 1)
    assert echo.clients.most == 1
    limit(resource.RLIM_INFINITY)
    assert echo.clients.most == 100_000
    limit(RESP_DESCRIPTORS_LEFT + 1)
    with echo.connect() as first, echo.connect() as second:
        echo.settled()
        assert closed(second) == b"-ERR max number of clients reached\r\n"
        first.sendall(request(b"one"))
        echo.settled()
        assert received(first, 9) == reply(b"one")
    assert echo.clients.refused == 1


# TLS


def test_tls_clients_are_answered_whatever_the_records_hold(
    make: Callable[..., Echo], server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    echo = make(server_context)

    def talk() -> bytes:
        with client_context.wrap_socket(echo.connect(), server_hostname="127.0.0.1") as client:
            # Many requests in a record, one request in many records, one record in many pieces.
            client.sendall(request(b"one") * 500)
            answered = received(client, 500 * 9)
            for byte in request(b"two"):
                client.sendall(bytes([byte]))
            large = bytes(3_000_000)
            client.sendall(request(large))
            answered += received(client, 9 + len(reply(large)))
            assert client.unwrap()
            return answered

    assert Beside(echo, talk).result == (
        reply(b"one") * 500 + reply(b"two") + reply(bytes(3_000_000))
    )


def test_tls_that_has_decrypted_more_than_one_read_is_read_to_the_end(
    make: Callable[..., Echo],
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("replicator.faces.redis.client.RESP_READ_BYTES", 100)
    echo = make(server_context)

    def talk() -> bytes:
        with client_context.wrap_socket(echo.connect(), server_hostname="127.0.0.1") as client:
            client.sendall(request(b"one") * 500)  # one record
            return received(client, 500 * 9)

    assert Beside(echo, talk).result == reply(b"one") * 500


def test_a_slow_tls_reader_of_a_large_reply_is_seen_to_read(
    make: Callable[..., Echo], server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    echo = make(server_context)
    large = bytes(20_000_000)
    connected = []

    def ask() -> None:
        client = client_context.wrap_socket(echo.connect(), server_hostname="127.0.0.1")
        connected.append(client)
        client.sendall(request(large))

    Beside(echo, ask)
    (client,) = connected
    echo.until(lambda: echo.clients.waiting_bytes > 10_000_000)
    echo.settled()
    ours = echo.only()
    waiting, moved = ours.waiting_bytes, ours.moved
    Beside(echo, lambda: received(client, 5_000_000))
    assert ours.waiting_bytes < waiting - 1_000_000 and ours.moved > moved
    client.close()


def test_who_does_not_shake_hands_is_dropped(
    make: Callable[..., Echo], server_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = make(server_context)
    with echo.connect() as silent, echo.connect() as rubbish, echo.connect() as partial:
        rubbish.sendall(b"PING\r\n")
        partial.sendall(b"\x16\x03\x01\x02\x00\x01")
        echo.until(lambda: len(echo.clients) == 2 and echo.clients.accepted == 3)
        assert b"PONG" not in closed(rubbish)
        now = monotonic()
        monkeypatch.setattr(module.time, "monotonic", lambda: now + RESP_STRANGER_SECONDS + 1)
        echo.clients.tidy()
        assert not len(echo.clients)
        assert closed(silent) == closed(partial) == b""
