"""The sections of the configuration file and their keys: what may be written, and the defaults.

A key is a field here and nowhere else. Its type says what a value may be, `Meta` beside it what no
type says: the unit of a number, that a text is a path, and the options of ``serve`` that set it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from replicator.config import (
    CLUSTER_DEFAULT,
    DISCOVERY_INTERVAL,
    HOST_DEFAULT,
    PORT_DEFAULT,
    Settings,
)
from replicator.core.resolve import ResolverMode
from replicator.faces.redis.limits import RESP_CLIENTS_MAX

_DEFAULTS = Settings()

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "text", "json"]

Path = Annotated[str, Meta(extra={"path": True})]
"""A path: a relative one starts from the directory of the file in which it is written, and from the
working directory where an environment variable or an option gives it."""

Seconds = Annotated[float, Meta(extra={"unit": "seconds"})]
Bytes = Annotated[int, Meta(extra={"unit": "bytes"})]
Insecure = Annotated[bool, Meta(extra={"flag": "--insecure"})]


class NodeSection(Struct, frozen=True):
    """``[node]``: who this node is."""

    name: Annotated[str | None, Meta(extra={"flag": "--name"})] = None
    data: Annotated[Path | None, Meta(extra={"flag": "--data"})] = None
    cluster: str = CLUSTER_DEFAULT


class ListenSection(Struct, frozen=True):
    """``[listen]``: where peers reach it."""

    host: Annotated[str, Meta(extra={"flag": "--listen"})] = HOST_DEFAULT
    port: Annotated[int, Meta(extra={"flag": "--listen"})] = PORT_DEFAULT
    insecure: Insecure = False


class TlsSection(Struct, frozen=True):
    """``[tls]``: the files that make its connections safe, see `replicator.net.tls.TlsFiles`."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    revoked: Path | None = None


class PeersSection(Struct, frozen=True):
    """``[peers]``: whom it dials."""

    static: Annotated[tuple[str, ...], Meta(extra={"flag": "--peer"})] = ()


class DiscoverySection(Struct, frozen=True):
    """``[discovery]``: how it finds others that nobody names; see `replicator.discovery`."""

    multicast: Annotated[bool, Meta(extra={"flag": "--no-multicast"})] = True
    interfaces: tuple[str, ...] | None = None
    dns: tuple[str, ...] = ()
    srv: tuple[str, ...] = ()
    file: Path | None = None
    command: tuple[str, ...] = ()
    interval: Seconds = DISCOVERY_INTERVAL


class ReplicationSection(Struct, frozen=True):
    """``[replication]``: how often, how much, how safe; see `replicator.config.Settings`."""

    join_timeout: Seconds = _DEFAULTS.join_timeout
    sync: bool = _DEFAULTS.sync
    sync_interval: Seconds = _DEFAULTS.sync_interval
    interval_min: Seconds = _DEFAULTS.interval_min
    interval_max: Seconds = _DEFAULTS.interval_max
    holdoff_max: Seconds = _DEFAULTS.holdoff_max
    linger: Seconds = _DEFAULTS.linger
    keepalive: Seconds = _DEFAULTS.keepalive
    connect_timeout: Seconds = _DEFAULTS.connect_timeout
    reask_timeout: Seconds = _DEFAULTS.reask_timeout
    atomic_round_bytes: Bytes = _DEFAULTS.atomic_round_bytes
    clock_skew_max: Seconds = _DEFAULTS.clock_skew_max
    fanout: int = _DEFAULTS.fanout
    connections_max: int = _DEFAULTS.connections_max
    forget_after: Seconds | None = _DEFAULTS.forget_after
    dial_members: bool = _DEFAULTS.dial_members
    digest_interval: Seconds = _DEFAULTS.digest_interval


class ResolverSection(Struct, frozen=True):
    """``[resolver]``: who wins a conflict. `name` as `replicator.core.resolvers.by_name`."""

    name: str = "highest_clock"
    mode: ResolverMode = "concurrent"
    timeout: Seconds = _DEFAULTS.resolver_timeout


class RespSection(Struct, frozen=True):
    """``[resp]``: where programs reach it by the protocol of Redis, beyond the socket in the data
    directory."""

    listen: Annotated[str | None, Meta(extra={"flag": "--resp"})] = None
    socket: Path | None = None
    socket_mode: str = "0660"
    socket_group: str | None = None
    clients_max: int = RESP_CLIENTS_MAX
    notify_keyspace_events: str = ""
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    insecure: Insecure = False


class HttpSection(Struct, frozen=True):
    """``[http]``: where operators reach it: probes, metrics, the page."""

    listen: Annotated[str | None, Meta(extra={"flag": "--http"})] = None
    certificate: Path | None = None
    key: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    insecure: Insecure = False


class AccessSection(Struct, frozen=True):
    """``[access]``: the files with the secrets of those that connect; see
    `replicator.faces.access`. A secret itself is no key."""

    readonly_password_file: Path | None = None
    application_password_file: Path | None = None
    admin_password_file: Path | None = None
    http_token_file: Path | None = None


class LogSection(Struct, frozen=True):
    """``[log]``: what is told on standard error, and how."""

    level: Annotated[LogLevel, Meta(extra={"flag": "--log-level"})] = "info"
    format: LogFormat = "auto"


class File(Struct, frozen=True):
    """All sections."""

    node: NodeSection = NodeSection()
    listen: ListenSection = ListenSection()
    tls: TlsSection = TlsSection()
    peers: PeersSection = PeersSection()
    discovery: DiscoverySection = DiscoverySection()
    replication: ReplicationSection = ReplicationSection()
    resolver: ResolverSection = ResolverSection()
    resp: RespSection = RespSection()
    http: HttpSection = HttpSection()
    access: AccessSection = AccessSection()
    log: LogSection = LogSection()


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file.

    Attributes:
        section, name: in the file ``name = …`` under ``[section]``.
        kind: the type of its value.
        default: in force where nobody says otherwise.
        unit: of its number; empty where it has none.
        flag: the option of ``serve`` that sets it; empty where none does.
        is_path: whether its text is a path.
    """

    section: str
    name: str
    kind: Any
    default: object
    unit: str
    flag: str
    is_path: bool

    def __str__(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"REPLICATOR_{self.section}_{self.name}".upper()

    @property
    def is_list(self) -> bool:
        """Whether its value is a list of texts."""
        return any(get_origin(kind) is tuple for kind in _alternatives(self.kind))

    @property
    def is_switch(self) -> bool:
        """Whether its value is true or false."""
        return bool in _alternatives(self.kind)

    @property
    def is_number(self) -> bool:
        """Whether its value is a number."""
        return not {float, int}.isdisjoint(_alternatives(self.kind))

    @property
    def type(self) -> str:
        """Its type, as people say it."""
        kinds = _alternatives(self.kind)
        if self.is_path:
            return "path"
        if self.is_list:
            return "list of texts"
        if self.is_switch:
            return "true or false"
        if self.is_number:
            return "number" if float in kinds else "whole number"
        words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        return " or ".join(f'"{word}"' for word in words) or "text"


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types that a value may have, without what `Meta` says beside them."""
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (tuple, Literal) or not get_args(kind):
        return (kind,)
    return tuple(one for part in get_args(kind) for one in _alternatives(part))


def _extras(kind: Any) -> dict[str, Any]:
    """What `Meta` says beside a type, on any level of it."""
    found: dict[str, Any] = {}
    if get_origin(kind) in (tuple, Literal):
        return found
    for part in get_args(kind):
        found |= (part.extra or {}) if isinstance(part, Meta) else _extras(part)
    return found


def _keys() -> Iterator[Key]:
    for section in msgspec.structs.fields(File):
        for field in msgspec.structs.fields(section.type):
            told = _extras(field.type)
            yield Key(
                section.name,
                field.name,
                field.type,
                field.default,
                told.get("unit", ""),
                told.get("flag", ""),
                told.get("path", False),
            )


KEYS = {str(key): key for key in _keys()}
"""Every key by its dotted name, in the order in which people are told of them."""

SECTIONS = tuple(field.name for field in msgspec.structs.fields(File))
