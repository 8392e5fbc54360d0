"""The keywords of `replicate` and `open_replica`: checked, with errors that say what to write."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from replicator.config import FORGET_AFTER_LEAST, NAME_BYTES_MAX, Settings
from replicator.errors import ConfigError
from replicator.net.address import PORT_MAX, parse_address
from replicator.net.tls import TlsFiles

if TYPE_CHECKING:
    from replicator.net.discovery.provider import Provider

SECONDS_MAX = 86_400.0
FORGET_AFTER_MAX = 100 * 365 * 86_400.0
CONNECTIONS_MAX = 65_535
ATOMIC_ROUND_BYTES_MAX = 16 << 20


class Tuning(TypedDict, total=False):
    """Keywords that few need; see `replicator.config.Settings`. Times are in seconds."""

    sync_interval: float
    interval_min: float
    interval_max: float
    holdoff_max: float
    linger: float
    keepalive: float
    connect_timeout: float
    reask_timeout: float
    atomic_round_bytes: int
    resolver_timeout: float
    clock_skew_max: float
    fanout: int
    connections_max: int
    forget_after: float | None
    dial_members: bool
    digest_interval: float
    insecure: bool


class Keywords(Tuning, total=False):
    """All that `replicate` takes beside the handle and what settles conflicts."""

    host: str
    port: int | None
    peers: Iterable[str]
    discovery: "Iterable[Provider] | None"
    cluster: str
    name: str | None
    join_timeout: float
    sync: bool
    tls: Mapping[str, str] | None


def make_settings(**keywords: Any) -> Settings:
    """Settings of checked values; what is left out has its default.

    Raises:
        ConfigError: a value is malformed; the message names the keyword and says what to write.
        UsageError: it asks for what this version cannot do.
        TypeError: there is no such keyword.
    """
    for name in keywords:
        if name not in _CHECKS:
            raise TypeError(f"there is no keyword {name!r}; there are {', '.join(_CHECKS)}")
    values = {name: _CHECKS[name](name, value) for name, value in keywords.items()}
    settings = Settings(**values)
    if settings.interval_min > settings.interval_max:
        raise ConfigError(
            f"interval_min={settings.interval_min!r} is greater than "
            f"interval_max={settings.interval_max!r}: write the smaller one as interval_min"
        )
    return settings


def check_resolver(resolver: object, mode: object) -> None:
    """Refuse a resolver that cannot be called, or a mode that there is not.

    Raises:
        ConfigError: either is so.
    """
    if resolver is not None and not callable(resolver):
        raise ConfigError(
            f"resolver={resolver!r} cannot be called: write a function of two versions, one of "
            "replicator.resolvers, or None for the default order"
        )
    if mode not in ("concurrent", "equal-clock"):
        raise ConfigError(f'resolver_mode={mode!r}: write "concurrent" or "equal-clock"')


def _refuse(name: str, value: object, advice: str) -> ConfigError:
    return ConfigError(f"{name}={value!r}: write {advice}")


def _host(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _refuse(name, value, 'an address of this machine, such as "127.0.0.1" or "::"')
    return value


def _port(name: str, value: object) -> int | None:
    if value is not None and not (_is_int(value) and 0 <= value <= PORT_MAX):  # type: ignore[operator]
        raise _refuse(
            name, value, f"a number up to {PORT_MAX}, 0 for a free one, or None not to listen"
        )
    return value  # type: ignore[return-value]


def _peers(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise _refuse(name, value, 'a list of addresses, such as ["host:9000"]')
    peers = tuple(value)
    for peer in peers:
        if not isinstance(peer, str):
            raise _refuse(name, peer, 'each peer as text, "host:port"')
        try:
            parse_address(peer)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error
    return peers


def _name(name: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value.encode()) <= NAME_BYTES_MAX:
        raise _refuse(name, value, f"text of 1 to {NAME_BYTES_MAX} bytes")
    return value


def _name_or_none(name: str, value: object) -> str | None:
    return None if value is None else _name(name, value)


def _switch(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refuse(name, value, "True or False")
    return value


def _seconds(least: float) -> Callable[[str, object], float]:
    """A check for a time that is at least `least`, or above 0 where that is not 0 itself."""

    def check(name: str, value: object) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not fits or not math.isfinite(value) or not least <= value <= SECONDS_MAX:  # type: ignore[arg-type,operator]
            raise _refuse(name, value, f"seconds, from {least:g} to {SECONDS_MAX:g}")
        return float(value)  # type: ignore[arg-type]

    return check


def _forget_after(name: str, value: object) -> float | None:
    if value is None:
        return None
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not FORGET_AFTER_LEAST <= value <= FORGET_AFTER_MAX:  # type: ignore[operator]
        raise _refuse(
            name,
            value,
            f"seconds, from {FORGET_AFTER_LEAST:g} to {FORGET_AFTER_MAX:g}, or None for never: "
            "30 days are 2592000",
        )
    return float(value)  # type: ignore[arg-type]


def _count(least: int, most: int) -> Callable[[str, object], int]:
    def check(name: str, value: object) -> int:
        if not _is_int(value) or not least <= value <= most:  # type: ignore[operator]
            raise _refuse(name, value, f"a whole number from {least} to {most}")
        return value  # type: ignore[return-value]

    return check


def _discovery(name: str, value: object) -> tuple[object, ...] | None:
    if value is None:
        return None
    advice = "a list of providers, such as [replicator.discovery.multicast()], or [] for none"
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise _refuse(name, value, advice)
    providers = tuple(value)
    for provider in providers:
        if not (hasattr(provider, "run") and isinstance(getattr(provider, "name", None), str)):
            raise _refuse(name, provider, advice)
    return providers


def _tls(name: str, value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _refuse(name, value, "a mapping with ca, certificate, key and revoked, or None")
    files = {
        key: os.fspath(path) if isinstance(path, os.PathLike) else path
        for key, path in value.items()
    }
    TlsFiles.from_mapping(files)
    return files


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_LEAST_SECONDS = 0.001

_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "host": _host,
    "port": _port,
    "peers": _peers,
    "discovery": _discovery,
    "cluster": _name,
    "name": _name_or_none,
    "join_timeout": _seconds(0),
    "sync": _switch,
    "sync_interval": _seconds(_LEAST_SECONDS),
    "interval_min": _seconds(_LEAST_SECONDS),
    "interval_max": _seconds(_LEAST_SECONDS),
    "holdoff_max": _seconds(_LEAST_SECONDS),
    "linger": _seconds(0),
    "keepalive": _seconds(_LEAST_SECONDS),
    "connect_timeout": _seconds(_LEAST_SECONDS),
    "reask_timeout": _seconds(_LEAST_SECONDS),
    "atomic_round_bytes": _count(0, ATOMIC_ROUND_BYTES_MAX),
    "resolver_timeout": _seconds(_LEAST_SECONDS),
    "clock_skew_max": _seconds(0),
    "fanout": _count(1, CONNECTIONS_MAX),
    "connections_max": _count(1, CONNECTIONS_MAX),
    "forget_after": _forget_after,
    "dial_members": _switch,
    "digest_interval": _seconds(0),
    "tls": _tls,
    "insecure": _switch,
}
"""One check a setting: takes the name and the value given, returns the value to use."""
