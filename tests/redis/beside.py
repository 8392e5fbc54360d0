"""A real redis-server for tests, and its replies beside ours."""

import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hiredis

from replicator.faces.control import answer
from replicator.faces.handle import Replica
from replicator.faces.resp import encode_request
from replicator.faces.stepwise import Session
from tests.cli.daemons import until

REDIS_SERVER = shutil.which("redis-server")

Words = tuple[bytes, ...]

KEYS: Words = (b"a", b"b", b"c", b"key:1", b"key:2", b"key:10", b"")
"""What the random requests are about."""


class Redis:
    """A connection to a redis-server."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._reader = hiredis.Reader()

    def ask(self, *request: bytes) -> Any:
        self._socket.sendall(encode_request(*request))
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(1 << 16))
        return reply

    def close(self) -> None:
        self._socket.close()


@contextmanager
def redis_server(directory: Path) -> Iterator[Redis]:
    """A redis-server for as long as the context is open."""
    assert REDIS_SERVER is not None
    path = directory / "redis.sock"
    options = ("--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(directory))
    with (directory / "redis.log").open("w") as log:
        process = subprocess.Popen([REDIS_SERVER, *options], stdout=log, stderr=log)
    try:
        until(path.exists)
        redis = Redis(path)
        yield redis
        redis.close()
    finally:
        process.kill()
        process.wait()


class Ours:
    """The same commands on a handle."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._session = Session()

    def ask(self, *request: bytes) -> Any:
        reader = hiredis.Reader()
        reader.feed(answer(self._replica, self._session, list(request)))
        return reader.gets()


def comparable(reply: Any) -> Any:
    """A reply, so that equal ones are equal."""
    return str(reply) if isinstance(reply, hiredis.ReplyError) else reply


class Requests:
    """Random requests, the same for a seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def _key(self) -> bytes:
        return self._chance.choice(KEYS)

    def _value(self) -> bytes:
        return self._chance.choice(
            (
                b"",
                b"0",
                b"1",
                b"-7",
                b"10",
                b"1.5",
                b"-0.1",
                b"3.0e3",
                b"text",
                b"\xff\0\r\n",
                *(b" 1", b"007", b"9223372036854775807", b"-9223372036854775808", b"long" * 20),
            )
        )

    def _number(self) -> bytes:
        usual = b"%d" % self._chance.randint(-12, 12)
        return self._chance.choice((usual, usual, usual, self._value(), b"+1", b"-0", b"1e2"))

    def _offset(self) -> bytes:
        return self._chance.choice((b"%d" % self._chance.randint(-3, 30), b"x", b"600000000"))

    def _ttl(self) -> bytes:
        usual = b"%d00000" % self._chance.randint(1, 100_000)  # hardly ever the same twice
        return self._chance.choice((usual, usual, b"0", b"-1", b"x", b"9223372036854775807"))

    def _moment(self, unit: int) -> bytes:
        later = 4_000_000_000 * unit + self._chance.randint(0, 9)
        return self._chance.choice((b"%d" % later, b"1", b"0", b"-5", b"soon"))

    def _lifetime(self, alone: bytes) -> Words:
        return self._chance.choice(
            (
                (),
                (),
                (alone,),
                (b"ex", self._ttl()),
                (b"PX", self._ttl()),
                (b"EXAT", self._moment(1)),
                (b"PXAT", self._moment(1000)),
                (b"EX", b"5000", alone),
                (b"EX", b"7000", b"EX", b"8000"),
                (b"EX",),
                (b"WHAT",),
            )
        )

    def _flags(self, *flags: bytes) -> Words:
        return tuple(
            self._chance.choice(flags) for _ in range(self._chance.choice((0, 0, 1, 1, 2)))
        )

    def _keys(self) -> Words:
        return tuple(self._key() for _ in range(self._chance.randint(1, 4)))

    def _pairs(self) -> Words:
        words = [word for key in self._keys() for word in (key, self._value())]
        return tuple(words if self._chance.random() < 0.9 else words[:-1])

    def next(self) -> Words:
        """One of them."""
        key, value = self._key(), self._value()
        number, units = self._number(), self._chance.choice((1, 1000))
        made: tuple[Words, ...] = (
            (b"GET", key),
            (b"SET", key, value),
            (b"SET", key, value, *self._lifetime(b"KEEPTTL"), *self._flags(b"NX", b"XX", b"GET")),
            (b"SET", key, value, *self._flags(b"nx", b"xx", b"get"), *self._lifetime(b"KEEPTTL")),
            (b"SETNX", key, value),
            (b"SETEX", key, self._ttl(), value),
            (b"PSETEX", key, self._ttl(), value),
            (b"GETSET", key, value),
            (b"GETDEL", key),
            (b"GETEX", key, *self._lifetime(b"PERSIST")),
            (b"STRLEN", key),
            (b"GETRANGE", key, self._offset(), self._offset()),
            (b"GETRANGE", key, number, number),
            (b"SUBSTR", key, b"%d" % self._chance.randint(-9, 0), b"-1"),
            (b"SETRANGE", key, self._offset(), value),
            (b"APPEND", key, value),
            (b"INCR", key),
            (b"DECR", key),
            (b"INCRBY", key, number),
            (b"DECRBY", key, number),
            (b"INCRBYFLOAT", key, number),
            (b"MGET", *self._keys()),
            (b"MSET", *self._pairs()),
            (b"MSETNX", *self._pairs()),
            (b"EXISTS", *self._keys()),
            (b"TOUCH", *self._keys()),
            (b"DEL", *self._keys()),
            (b"UNLINK", key),
            (b"TYPE", key),
            (b"RENAME", key, self._key()),
            (b"RENAMENX", key, self._key()),
            (b"COPY", key, self._key(), *self._flags(b"REPLACE", b"DB", b"replace")),
            (b"EXPIRE", key, self._ttl(), *self._flags(b"NX", b"XX", b"GT", b"lt")),
            (b"PEXPIRE", key, self._ttl(), *self._flags(b"NX", b"XX", b"GT", b"WHAT")),
            (b"EXPIREAT", key, self._moment(1), *self._flags(b"nx", b"GT", b"LT")),
            (b"PEXPIREAT", key, self._moment(1000), *self._flags(b"XX", b"GT", b"LT")),
            (b"PERSIST", key),
            (self._chance.choice((b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME")), key),
            (b"DBSIZE",),
            (b"FLUSHALL",) if self._chance.random() < 0.1 else (b"GET", key, key)[: 1 + units % 7],
        )
        return self._chance.choice(made)
