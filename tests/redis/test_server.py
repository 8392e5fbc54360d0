"""The server within a trio program: what waits and what takes long, syncing, closing."""

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter, sleep

import pytest
import trio

from replicator.errors import StoreFailedError
from replicator.faces import commands
from replicator.faces.access import Role
from replicator.faces.library import open_replica
from replicator.faces.nursery import TrioReplica
from replicator.faces.redis.entrances import Entrance
from replicator.faces.redis.server import Server
from replicator.faces.redis.table import Awaited, Command, Work, reading, waiting
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request, encode_request
from replicator.faces.stepwise import Session

PATIENCE_SECONDS = 10.0


class Connection:
    """A client."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._read = b""

    async def send(self, *requests: str) -> None:
        await self._stream.send_all(
            b"".join(encode_request(*request.encode().split()) for request in requests)
        )

    async def reply(self, end: bytes = b"\r\n") -> bytes:
        """What comes up to the end of a line, or b"" where the server hangs up."""
        with trio.fail_after(PATIENCE_SECONDS):
            while end not in self._read:
                try:
                    more = await self._stream.receive_some()
                except trio.BrokenResourceError:
                    more = b""
                if not more:
                    return b""
                self._read += more
        line, _, self._read = self._read.partition(end)
        return line

    async def ask(self, request: str) -> bytes:
        await self.send(request)
        return await self.reply()

    async def silence(self) -> bool:
        """Whether nothing comes for a while."""
        with trio.move_on_after(0.05):
            self._read += await self._stream.receive_some()
            return False
        return True

    def close(self) -> None:
        self._stream.socket.close()


class Served:
    """A server on a Unix socket."""

    def __init__(self, replica: TrioReplica, server: Server, path: Path) -> None:
        self.replica = replica
        self.server = server
        self._path = path
        self._open: list[Connection] = []
        self.has_ended = trio.Event()

    async def connect(self) -> Connection:
        self._open.append(Connection(await trio.open_unix_socket(self._path)))
        return self._open[-1]

    def close(self) -> None:
        for connection in self._open:
            connection.close()


@asynccontextmanager
async def serving(directory: Path, **keywords: object) -> AsyncIterator[Served]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "socket"))
    listener.listen(100)
    keywords = {"port": None, "discovery": [], **keywords}
    async with open_replica(directory / "store", **keywords) as replica:  # type: ignore[arg-type]
        server = Server(replica, [Entrance(listener, lambda: Role.ADMIN)])
        served = Served(replica, server, directory / "socket")

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            await server.run(task_status=task_status)
            served.has_ended.set()

        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            try:
                yield served
            finally:
                served.close()
            nursery.cancel_scope.cancel()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes, Command], None]:
    """Adds one to the table."""
    return lambda name, command: monkeypatch.setitem(commands.COMMANDS, name, command)  # type: ignore[arg-type]


class Stage:
    """A command that waits in a thread until it is told to end."""

    def __init__(self) -> None:
        self._runs = threading.Event()
        self.end = threading.Event()

    def wait(self, _replica: object, _session: Session, _arguments: list[bytes]) -> Reply:
        self._runs.set()
        assert self.end.wait(PATIENCE_SECONDS)
        return "ended"

    async def has_begun(self) -> None:
        assert await trio.to_thread.run_sync(self._runs.wait, PATIENCE_SECONDS)


async def test_clients_are_served_and_counted(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        first, second = await served.connect(), await served.connect()
        await first.send("SET k v", "GET k", "GET none")
        assert await first.reply(b"$-1\r\n") == b"+OK\r\n$1\r\nv\r\n"
        assert await second.ask("DEL k") == b":1"
        status = served.server.status()
        assert (status.clients, status.accepted, status.refused) == (2, 2, 0)
        assert status.commands == {"SET": 1, "GET": 2, "DEL": 1}
        assert (status.reads, status.writes, status.commits) == (3, 2, 2)
        assert status.bytes_out == len(b"+OK\r\n$1\r\nv\r\n$-1\r\n:1\r\n")


async def test_what_waits_in_a_thread_holds_up_its_client_alone(
    tmp_path: Path, command: Callable[[bytes, Command], None]
) -> None:
    stage = Stage()
    command(b"STAGE", waiting(stage.wait, 1))
    async with serving(tmp_path) as served:
        first, second = await served.connect(), await served.connect()
        await first.send("SET k v", "STAGE", "GET k")
        assert await first.reply() == b"+OK"
        assert await second.ask("GET k") == b"$1"
        assert await first.silence()
        stage.end.set()
        assert await first.reply(b"v\r\n") == b"$5\r\nended\r\n$1\r\n"


async def test_long_polls_take_no_threads_from_others(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        waiting = [await served.connect() for _ in range(150)]
        token = (await (await served.connect()).ask("REPL.TOKEN")).decode()
        assert token.startswith("$")
        for one in waiting:
            await one.send("REPL.CHANGES WAIT 600000")
        other = await served.connect()
        assert (await other.ask("REPL.DIGEST")).startswith(b"$")
        assert await other.reply()
        await other.ask("SET k v")
        for one in waiting:
            assert await one.reply(b"$1\r\nk\r\n$1\r\nv\r\n")


async def test_a_long_poll_ends_with_its_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.send("REPL.CHANGES WAIT 600000", "GET k")
        assert await client.silence()
        (ours,) = served.server._clients
        scope = ours.scope
        assert scope is not None
        client.close()
        with trio.fail_after(PATIENCE_SECONDS):
            while not scope.cancelled_caught:
                await trio.sleep(0.005)
        assert served.server.status().clients == 0


async def test_a_wait_for_a_token_ends_in_its_time(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.send("REPL.TOKEN")
        await client.reply()
        token = (await client.reply()).decode()
        assert await client.ask(f"REPL.WAITFOR {token} 0") == b":1"
        assert (await client.ask("REPL.WAITFOR nonsense 0")).startswith(b"-ERR ")
        assert (await client.ask("REPL.WAITFOR x")).startswith(b"-ERR wrong number")


def slices(seconds: float) -> Iterator[bytes]:
    yield b"*1\r\n"
    until = perf_counter() + seconds
    while perf_counter() < until:
        yield b""
    yield b"+done\r\n"


async def test_what_takes_long_goes_on_between_the_turns_of_others(
    tmp_path: Path, command: Callable[[bytes, Command], None]
) -> None:
    def run(_turn: Turn, _session: Session, request: Request) -> Work:
        return Work(slices(0.5))  # type: ignore[arg-type]

    command(b"LONG", reading(run, 1))
    async with serving(tmp_path) as served:
        long = [await served.connect() for _ in range(3)]
        for one in long:
            await one.send("LONG", "PING")
        other = await served.connect()
        answered = 0
        while any(client.slices for client in served.server._clients) or not answered:
            assert await other.ask("PING") == b"+PONG"
            answered += 1
        assert answered > 50
        for one in long:
            assert await one.reply(b"+PONG\r\n") == b"*1\r\n+done\r\n"


async def test_slices_that_fail(tmp_path: Path, command: Callable[[bytes, Command], None]) -> None:
    def at_once() -> Iterator[bytes]:
        yield b""
        raise ZeroDivisionError

    def in_the_middle() -> Iterator[bytes]:
        yield b"*2\r\n"
        raise ZeroDivisionError

    command(b"FIRST", reading(lambda *_: Work(at_once()), 1))  # type: ignore[arg-type]
    command(b"MIDDLE", reading(lambda *_: Work(in_the_middle()), 1))  # type: ignore[arg-type]
    async with serving(tmp_path) as served:
        client, other = await served.connect(), await served.connect()
        assert (await client.ask("FIRST")).startswith(b"-INTERNAL ")
        assert await client.ask("PING") == b"+PONG"
        await client.send("MIDDLE", "PING")
        assert await client.reply() == b"*2"
        assert await client.reply() == b"", "half a reply: nothing behind it would be understood"
        assert await other.ask("PING") == b"+PONG"


async def test_no_command_ends_the_server(
    tmp_path: Path, command: Callable[[bytes, Command], None]
) -> None:
    def fail(*_: object) -> Reply:
        raise ZeroDivisionError

    def nonsense(*_: object) -> Reply:
        return object()  # type: ignore[return-value]

    async def later(function: Callable[[], Reply]) -> Reply:
        await trio.lowlevel.checkpoint()
        return function()

    faults: list[Command] = []
    for function in (fail, nonsense):
        faults += [
            reading(function, 1),
            waiting(function, 1),
            reading(lambda *_, f=function: Awaited(lambda: later(f)), 1),  # type: ignore[misc]
        ]
    for number, one in enumerate(faults):
        command(b"FAULT%d" % number, one)
    async with serving(tmp_path) as served:
        client = await served.connect()
        for number in range(len(faults)):
            assert (await client.ask(f"FAULT{number}")).startswith(b"-INTERNAL "), number
        assert await client.ask("PING") == b"+PONG"


# Synced writes


class Disk:
    """Instead of the disk: a sync that ends when it is told to."""

    def __init__(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = self.done = 0
        self.may_end = threading.Semaphore(0)
        self.error: Exception | None = None
        monkeypatch.setattr(served.replica._engine.store.level, "sync", self._sync)

    def _sync(self) -> None:
        self.begun += 1
        assert self.may_end.acquire(timeout=PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error
        self.done += 1

    async def is_syncing(self, begun: int) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while self.begun < begun:
                await trio.sleep(0.002)


async def test_a_synced_write_is_answered_when_it_survives_and_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, sync=True) as served:
        writer, reader = await served.connect(), await served.connect()
        await writer.ask("SET first v")
        with monkeypatch.context() as patched:
            disk = Disk(served, patched)
            await writer.send("GET first", "SET k v", "REPL.DIGEST")
            await disk.is_syncing(1)
            assert await writer.silence()
            assert await reader.ask("GET k") == b"$1"
            await reader.reply()
            # What comes while the disk is at work takes one sync together.
            others = [await served.connect() for _ in range(5)]
            for one in others:
                await one.send("SET k v", "GET k")
            assert await others[0].silence()
            disk.may_end.release()
            assert await writer.reply(b"+OK\r\n") == b"$1\r\nv\r\n"
            assert await writer.reply() == b"$32", "the digest"
            await disk.is_syncing(2)
            assert await others[0].silence()
            disk.may_end.release()
            for one in others:
                assert await one.reply(b"v\r\n") == b"+OK\r\n$1\r\n"
            assert disk.begun == disk.done == 2


async def test_a_sync_that_fails_is_the_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, sync=True) as served:
        writer = await served.connect()
        await writer.ask("SET first v")
        with monkeypatch.context() as patched:
            disk = Disk(served, patched)
            disk.error = StoreFailedError("the disk failed to sync")
            disk.may_end.release()
            await writer.send("GET first", "SET k v", "GET none")
            assert await writer.reply(b"$-1\r\n") == (
                b"$1\r\nv\r\n-STORAGE the disk failed to sync\r\n"
            )


# The end


async def test_draining_lets_what_runs_end_and_tells_who_only_waits(
    tmp_path: Path, command: Callable[[bytes, Command], None]
) -> None:
    stage = Stage()
    command(b"STAGE", waiting(stage.wait, 1))
    async with serving(tmp_path) as served:
        polling, running, idle = [await served.connect() for _ in range(3)]
        await polling.send("REPL.CHANGES WAIT 600000", "REPL.CHANGES WAIT 600000")
        await running.send("STAGE", "GET k")
        assert await polling.silence()
        await stage.has_begun()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.drain, PATIENCE_SECONDS)
            closing = b"-CLOSING this node is being closed: ask another one"
            assert [await polling.reply(), await polling.reply()] == [closing] * 2
            with pytest.raises(OSError):
                await served.connect()
            assert await running.silence()
            assert not served.has_ended.is_set()
            stage.end.set()
            assert await running.reply(b"$-1\r\n") == b"$5\r\nended\r\n"
        await served.has_ended.wait()
        assert await running.reply() == await idle.reply() == b""


async def test_draining_ends_in_its_time(
    tmp_path: Path, command: Callable[[bytes, Command], None]
) -> None:
    stage = Stage()
    command(b"STAGE", waiting(stage.wait, 1))
    async with serving(tmp_path) as served:
        running = await served.connect()
        await running.send("STAGE")
        await stage.has_begun()
        with trio.fail_after(PATIENCE_SECONDS):
            await served.server.drain(0.1)
            await served.has_ended.wait()
        assert await running.reply() == b""
        stage.end.set()


async def test_draining_without_clients_is_quick(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        with trio.fail_after(PATIENCE_SECONDS):
            await served.server.drain(3600)
            await served.has_ended.wait()


async def test_cancelling_disconnects_everybody(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.ask("PING")
        served.server._nursery.cancel_scope.cancel()
        assert await client.reply() == b""
        assert served.server.status().clients == 0


async def test_a_closed_handle_ends_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.ask("PING")
        await trio.to_thread.run_sync(served.replica.close)
        await client.send("GET k")
        with trio.fail_after(PATIENCE_SECONDS):
            await served.has_ended.wait()
        assert await client.reply() == b""


async def test_the_first_writes_wait_for_the_gate_and_reads_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as served:
        store, is_open = served.replica._engine.store, threading.Event()
        monkeypatch.setattr(store.gate, "wait", is_open.wait)
        store._slow = True
        writer, reader = await served.connect(), await served.connect()
        await writer.send("GET k", "SET k v", "GET k")
        assert await writer.reply() == b"$-1"
        assert await reader.ask("GET k") == b"$-1"
        assert await writer.silence()
        is_open.set()
        assert await writer.reply(b"v\r\n") == b"+OK\r\n$1\r\n"


async def test_a_first_write_that_the_store_refuses_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as served:
        store = served.replica._engine.store

        def refuse() -> None:
            raise StoreFailedError("the disk is gone: mend it")

        monkeypatch.setattr(store, "admit", refuse)
        store._slow = True
        client = await served.connect()
        assert await client.ask("SET k v") == b"-STORAGE the disk is gone: mend it"
        assert await client.ask("GET k") == b"$-1"
        await client.send("WATCH k", "MULTI", "SET k v", "EXEC", "SET k v", "PING")
        replies = await client.reply(b"+PONG")
        assert replies.split(b"\r\n") == [
            b"+OK",
            b"+OK",
            b"+QUEUED",
            b"-STORAGE the disk is gone: mend it",
            b"-STORAGE the disk is gone: mend it",
            b"",
        ]


async def test_a_blocked_loop_of_the_node_does_not_lose_wakeups(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        for _ in range(200):
            await client.send("PING")
            sleep(0.0005)
            await trio.sleep(0)
            assert await client.reply() == b"+PONG"
