"""What is answered to which request. The page and its parts lie in `static`.

==============================  ==================================================================
GET /                           the page
GET /static/NAME                its parts
GET /healthz                    200 while the daemon's loop turns
GET /readyz                     200, or 503 and why this node should get no requests
GET /metrics                    for Prometheus
GET /status                     JSON: `status()` and `members()`, readiness, open conflicts
GET /conflicts                  JSON: the first open conflicts with their versions
POST /conflicts/resolve         settles one: ``{"key": …, "dot": …, "seen": […]}``
GET /events                     server-sent events: state, tick, happenings, conflicts
==============================  ==================================================================

Where a token is set, keys and values are shown to those alone who have it. Changes need it always,
so without one none is possible.
"""

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import resources
from typing import Any

import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from replicator.core.dots import parse_dot
from replicator.errors import (
    ClosedError,
    GateClosedError,
    NotLiveError,
    ReplicatorError,
    StorageError,
    UsageError,
)
from replicator.faces.cli.output import escaped
from replicator.faces.handle import Replica
from replicator.faces.http.broadcast import EventStream
from replicator.faces.http.guard import BodyTooLarge, Judge, bearer, read_body
from replicator.faces.http.limits import (
    HTTP_DENIED_SECONDS,
)
from replicator.faces.http.metrics import render
from replicator.faces.http.pulse import Pulse
from replicator.faces.http.watch import Watch

logger = logging.getLogger("replicator")

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_NO_ROOM = "too many pages are open: close one, then reload\n"


class Settle(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /conflicts/resolve``.

    Attributes:
        key: text, or ``{"base64": …}``.
        dot: of the version that is to stay.
        seen: dots that whoever decides has looked at; others stay. None is whatever is live.
    """

    key: str | dict[str, str]
    dot: str
    seen: list[str] | None = None


class Endpoints:
    """Answers requests about one node. For its trio loop.

    Args:
        access: gives who has the token, as that is now.
        threads: what takes longer, or waits.
    """

    def __init__(
        self,
        replica: Replica,
        access: Callable[[], Judge],
        watch: Watch,
        pulse: Pulse,
        threads: trio.CapacityLimiter,
    ) -> None:
        self._access = access
        self._replica = replica
        self._watch = watch
        self._threads = threads
        self._pulse = pulse
        self._files = _static_files()
        self._are_tokens_wrong = False

    def app(self) -> Starlette:
        """All of it as an ASGI application."""
        routes: list[tuple[str, Callable[[Request], Awaitable[Response]], str]] = [
            ("/", self._page, "GET"),
            ("/static/{name}", self._static, "GET"),
            ("/healthz", self._health, "GET"),
            ("/readyz", self._ready, "GET"),
            ("/metrics", self._metrics, "GET"),
            ("/status", self._status, "GET"),
            ("/conflicts", self._conflicts, "GET"),
            ("/conflicts/resolve", self._resolve, "POST"),
            ("/events", self._events, "GET"),
        ]
        return Starlette(
            routes=[Route(path, answer, methods=[method]) for path, answer, method in routes]
        )

    async def _page(self, _request: Request) -> Response:
        return self._file("index.html")

    async def _static(self, request: Request) -> Response:
        return self._file(request.path_params["name"])

    def _file(self, name: str) -> Response:
        if name not in self._files:
            return PlainTextResponse("there is no such thing here\n", status_code=404)
        return Response(self._files[name], media_type=TYPES[name.rpartition(".")[2]])

    async def _health(self, _request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def _ready(self, _request: Request) -> Response:
        faults = (await self._watch.view()).faults
        if faults:
            return PlainTextResponse("".join(f"{fault}\n" for fault in faults), status_code=503)
        return PlainTextResponse("ready\n")

    async def _metrics(self, request: Request) -> Response:
        view = await self._watch.view()
        accept = request.headers.get("accept", "")
        text, content_type = await trio.to_thread.run_sync(
            render, view, accept, limiter=self._threads, abandon_on_cancel=True
        )
        return Response(text, headers={"Content-Type": content_type})

    async def _status(self, _request: Request) -> Response:
        view = await self._watch.view()
        found = {
            "ready": not view.faults,
            "faults": view.faults,
            "status": view.status,
            "members": view.members,
            "known_gaps": view.known_gaps,
            "conflicts_open": view.conflicts_open,
            "disk_free_bytes": view.disk.free_bytes,
            "resp": view.resp,
        }
        return await trio.to_thread.run_sync(
            _json, found, limiter=self._threads, abandon_on_cancel=True
        )

    async def _conflicts(self, request: Request) -> Response:
        if not await self._may_see(request):
            return _denied("keys and values need the token of the section [access]")
        await self._watch.view()
        return _json(await self._pulse.tell_conflicts(sees_data=True))

    async def _resolve(self, request: Request) -> Response:
        if not await self._is_admin(request):
            needed = "settling needs the token of the section [access]"
            return _denied(needed if self._access().has_token else f"{needed}, and none is set")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _refused(415, "send it as application/json")
        try:
            wanted = msgspec.json.decode(await read_body(request.receive), type=Settle)
            key = _key_of(wanted.key)
            seen = None if wanted.seen is None else [parse_dot(dot) for dot in wanted.seen]
        except BodyTooLarge:
            return _refused(413, "the body is too long: use `replicator resolve` for such a key")
        except trio.TooSlowError:
            return _refused(408, "the body took too long")
        except (msgspec.DecodeError, UsageError) as error:
            return _refused(400, str(error))
        return await self._settle(request, key, wanted.dot, seen)

    async def _settle(
        self, request: Request, key: bytes, dot: str, seen: list[Any] | None
    ) -> Response:
        settle = partial(self._replica.resolve, key, dot, seen=seen)
        try:
            # Not abandoned: who asked is to be told what came of it.
            written = await trio.to_thread.run_sync(settle, limiter=self._threads)
            versions = await trio.to_thread.run_sync(
                self._replica.versions, key, limiter=self._threads
            )
        except NotLiveError as error:
            return _refused(409, str(error))
        except (StorageError, ClosedError, GateClosedError) as error:
            return _refused(503, str(error))
        except ReplicatorError as error:
            return _refused(400, str(error))
        who = "nobody known" if request.client is None else request.client.host
        logger.info("a conflict of key %s was settled over HTTP from %s", escaped(key[:80]), who)
        self._pulse.happenings.note("settled", who, key)
        return _json({"dot": str(written), "settled": len(versions) == 1})

    async def _events(self, request: Request) -> Response:
        sees_data = await self._may_see(request)
        if bearer(request.headers) is not None and not sees_data:
            return _denied("this is not the token")
        if self._pulse.broadcast.is_full:
            return PlainTextResponse(_NO_ROOM, status_code=503, headers={"Retry-After": "10"})
        first = partial(self._pulse.whole, sees_data)
        return EventStream(self._pulse.broadcast, first, sees_data)

    # Who may

    async def _may_see(self, request: Request) -> bool:
        return not self._access().has_token or await self._is_admin(request)

    async def _is_admin(self, request: Request) -> bool:
        token = bearer(request.headers)
        if token is None:
            return False
        if self._access().is_token(token):
            self._are_tokens_wrong = False
            return True
        if not self._are_tokens_wrong:  # once, until a right one comes: it can be asked for ever
            self._are_tokens_wrong = True
            who = "nobody known" if request.client is None else request.client.host
            logger.warning("a wrong token was shown over HTTP by %s", who)
        await trio.sleep(HTTP_DENIED_SECONDS)
        return False


def _static_files() -> dict[str, bytes]:
    """The page and its parts, which lie in the package."""
    directory = resources.files("replicator.faces.http") / "static"
    return {
        file.name: file.read_bytes()
        for file in directory.iterdir()
        if file.name.rpartition(".")[2] in TYPES
    }


def _key_of(given: str | dict[str, str]) -> bytes:
    if isinstance(given, str):
        return given.encode()
    if set(given) != {"base64"}:
        raise UsageError('a key is text, or {"base64": …}')
    try:
        return base64.b64decode(given["base64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"the key is no base64: {error}") from error


def _json(value: object, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(value) + b"\n", status_code=status, media_type="application/json"
    )


def _refused(status: int, why: str) -> Response:
    return _json({"error": why}, status)


def _denied(why: str) -> Response:
    response = _refused(401, why)
    response.headers["WWW-Authenticate"] = 'Bearer realm="replicator"'
    return response
