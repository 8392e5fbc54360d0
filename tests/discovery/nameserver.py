"""A name server in the test: answers from a table, over UDP on the loopback interface."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio


class NameServer:
    """What it answers; a name that is not in the table does not exist.

    Attributes:
        records: by name and kind, the texts of the records; an empty list: none of that kind.
        ttl: of all records, seconds.
        failure: what it answers instead, if anything; "silence" is no answer at all.
        failing: kinds that it fails for; all where it is empty.
        asked: every question so far.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.records: dict[tuple[str, str], list[str]] = {}
        self.ttl = 0
        self.failure: str | None = None
        self.failing: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    def answer(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name = question.name.to_text().lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if self.failure is not None and kind in (self.failing or {kind}):
            if self.failure == "silence":
                return None
            response.set_rcode(dns.rcode.from_text(self.failure))
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif texts := self.records.get((name, kind)):
            response.answer.append(dns.rrset.from_text(name, self.ttl, "IN", kind, *texts))
        return response


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as socket:
        await socket.bind(("127.0.0.1", 0))
        server = NameServer(socket.getsockname())

        async def serve() -> None:
            while True:
                data, peer = await socket.recvfrom(4096)
                response = server.answer(dns.message.from_wire(data))
                if response is not None:
                    await socket.sendto(response.to_wire(), peer)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield server
            nursery.cancel_scope.cancel()
