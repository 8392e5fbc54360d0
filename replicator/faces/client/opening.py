"""The two ways to a client: `replicator.connect` for threads, `replicator.connect_trio` in trio."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from replicator.errors import ConfigError, MissingExtraError
from replicator.faces.client.endpoints import Tls, endpoints_of
from replicator.faces.client.limits import (
    CLIENT_CATCH_UP_SECONDS,
    CLIENT_CONNECTIONS_MAX,
    CLIENT_SECONDS,
)

try:
    from replicator.faces.client.blocking import Client, finished
    from replicator.faces.client.calling import Caller
    from replicator.faces.client.handle import AsyncClient
    from replicator.faces.client.lines import Threads
except ModuleNotFoundError as error:
    if error.name != "hiredis":
        raise
    raise MissingExtraError(
        "a client needs hiredis, which is not installed; run: "
        "pip install 'level-replicator[daemon]'"
    ) from error


def connect(
    urls: str | Sequence[str],
    *,
    user: str | None = None,
    password: str | None = None,
    tls: Tls = None,
    timeout: float = CLIENT_SECONDS,
    catch_up: float = CLIENT_CATCH_UP_SECONDS,
    stale: bool = False,
    connections_max: int = CLIENT_CONNECTIONS_MAX,
) -> Client:
    """A handle on a daemon, or on several of one cluster: it uses the first that answers.

    Args:
        urls: ``unix:PATH`` of a socket or a data directory, ``redis://[user:password@]host:port``,
            ``rediss://…`` with TLS; one or several, in the order of preference.
        user, password: for URLs without; None takes REPLICATOR_CLIENT_USER and
            REPLICATOR_CLIENT_PASSWORD of the environment.
        tls: for ``rediss://``: a context, or files ``ca``, and ``certificate`` with ``key``.
        timeout: how many seconds a call looks for a daemon, or for a free connection.
        catch_up: how many seconds a daemon that this client moves to may take to get what it has
            written elsewhere, before anything is asked of it.
        stale: whether to go on with one that has not; otherwise StaleError is raised.
        connections_max: how many connections there are at a time.

    Raises:
        ConfigError: an argument makes no sense.
        UnreachableError: no daemon answers, or what answers is none.
        AccessError: a daemon wants another password.
    """
    _check(timeout, catch_up, connections_max)
    caller = Caller(
        Threads(),
        endpoints_of(urls, user, password, tls),
        timeout=timeout,
        catch_up=catch_up,
        stale=stale,
        connections_max=connections_max,
    )
    finished(caller.open())
    return Client(caller)


@asynccontextmanager
async def connect_trio(
    urls: str | Sequence[str],
    *,
    user: str | None = None,
    password: str | None = None,
    tls: Tls = None,
    timeout: float = CLIENT_SECONDS,
    catch_up: float = CLIENT_CATCH_UP_SECONDS,
    stale: bool = False,
    connections_max: int = CLIENT_CONNECTIONS_MAX,
) -> AsyncIterator[AsyncClient]:
    """`connect` for trio programs: ``async with replicator.connect_trio(…) as db``."""
    # Here, not at the top: it takes ten times as long to import as the rest.
    from replicator.faces.client.triolines import Tasks

    _check(timeout, catch_up, connections_max)
    caller = Caller(
        Tasks(),
        endpoints_of(urls, user, password, tls),
        timeout=timeout,
        catch_up=catch_up,
        stale=stale,
        connections_max=connections_max,
    )
    try:
        await caller.open()
        yield AsyncClient(caller)
    finally:
        caller.close()


def _check(timeout: float, catch_up: float, connections_max: int) -> None:
    for name, seconds in (("timeout", timeout), ("catch_up", catch_up)):
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not is_number or not 0 <= seconds < 1e9:
            raise ConfigError(f"{name}={seconds!r}: write a number of seconds from 0 on")
    if isinstance(connections_max, bool) or not isinstance(connections_max, int):
        raise ConfigError(f"connections_max={connections_max!r}: write a whole number")
    if connections_max < 1:
        raise ConfigError(f"connections_max={connections_max}: at least one is needed")
