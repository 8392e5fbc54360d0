"""What is in force: the keys of all sections, checked and made into what the daemon works with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from replicator.config import Settings
from replicator.core.resolve import Resolver, ResolverMode
from replicator.core.resolvers import by_name
from replicator.faces.access import SECRETS, AccessConfig, Secret
from replicator.faces.configuration.finding import providers
from replicator.faces.configuration.sections import (
    AccessSection,
    DiscoverySection,
    File,
    HttpSection,
    LogFormat,
    LogLevel,
    RespSection,
    TlsSection,
)
from replicator.faces.configuration.source import DEFAULT_SOURCE, Source
from replicator.faces.keywords import make_settings
from replicator.faces.listening import TlsServerFiles, parse_listen
from replicator.net.address import Address


@dataclass(frozen=True, slots=True)
class RespConfig:
    """Where programs reach the daemon, beyond the socket in the data directory.

    Attributes:
        listen: on TCP; None does not.
        socket: path of a further Unix socket; None has none.
        socket_mode, socket_group: who may connect to that one.
        clients_max: clients at a time, on all sockets together.
        notify_keyspace_events: letters that choose the keyspace notifications; see
            `replicator.faces.redis.flags`.
        tls: of TCP; None speaks without.
        insecure: whether to listen beyond loopback without TLS or a password.
    """

    listen: Address | None
    socket: Path | None
    socket_mode: int
    socket_group: str | None
    clients_max: int
    notify_keyspace_events: str
    tls: TlsServerFiles | None
    insecure: bool


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Where operators reach the daemon.

    Attributes:
        listen: None does not.
        tls: None speaks without.
        allowed_hosts: what browsers may call it beside IP addresses of loopback and `localhost`;
            without ports.
        insecure: whether to listen beyond loopback without TLS or a token.
    """

    listen: Address | None
    tls: TlsServerFiles | None
    allowed_hosts: tuple[str, ...]
    insecure: bool


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is told on standard error.

    Attributes:
        level: what is less is left out.
        format: "auto" writes for people on a terminal, and JSON elsewhere.
    """

    level: LogLevel
    format: LogFormat


@dataclass(frozen=True, slots=True)
class Config:
    """What is in force.

    Attributes:
        data: the directory of the LevelDB, where one is named.
        file: every key, with its value in force.
        sources: by dotted key, where that value comes from; what is not there has its default.
    """

    data: Path | None
    discovery: DiscoverySection
    settings: Settings
    resolver: Resolver
    resolver_mode: ResolverMode
    resp: RespConfig
    http: HttpConfig
    access: AccessConfig
    log: LogConfig
    file: File
    sources: Mapping[str, Source]

    @property
    def keywords(self) -> dict[str, Any]:
        """What `replicate` and `open_replica` are given."""
        return {
            **{field.name: getattr(self.settings, field.name) for field in fields(self.settings)},
            "discovery": [make() for _, make in providers(self.discovery)],
            "resolver": self.resolver,
            "resolver_mode": self.resolver_mode,
        }

    def values(self) -> Iterator[tuple[str, object, Source]]:
        """Every key: its dotted name, the value in force, and where that comes from."""
        for section, table in msgspec.structs.asdict(self.file).items():
            for name, value in msgspec.structs.asdict(table).items():
                key = f"{section}.{name}"
                yield key, value, self.sources.get(key, DEFAULT_SOURCE)


def settings_of(file: File) -> dict[str, tuple[str, object]]:
    """The keys that are settings of a node: by what name, and with which value."""
    tls = _given(file.tls)
    return {
        "node.name": ("name", file.node.name),
        "node.cluster": ("cluster", file.node.cluster),
        "listen.host": ("host", file.listen.host),
        "listen.port": ("port", file.listen.port),
        "listen.insecure": ("insecure", file.listen.insecure),
        "tls": ("tls", tls or None),
        "peers.static": ("peers", file.peers.static),
        "resolver.timeout": ("resolver_timeout", file.resolver.timeout),
        **{
            f"replication.{name}": (name, value)
            for name, value in msgspec.structs.asdict(file.replication).items()
        },
    }


def config_of(file: File, sources: Mapping[str, Source], secrets: Mapping[str, Secret]) -> Config:
    """What is in force, of keys that have been checked.

    Args:
        sources: of those keys that were given.
        secrets: that were given directly.
    """
    return Config(
        data=_path(file.node.data),
        discovery=file.discovery,
        settings=make_settings(**dict(settings_of(file).values())),
        resolver=by_name(file.resolver.name),
        resolver_mode=file.resolver.mode,
        resp=_resp(file.resp),
        http=_http(file.http),
        access=_access(file.access, secrets),
        log=LogConfig(file.log.level, file.log.format),
        file=file,
        sources=sources,
    )


def _given(section: TlsSection | AccessSection) -> dict[str, str]:
    table = msgspec.structs.asdict(section)
    return {name: path for name, path in table.items() if path is not None}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _resp(section: RespSection) -> RespConfig:
    return RespConfig(
        listen=None if section.listen is None else parse_listen(section.listen),
        socket=_path(section.socket),
        socket_mode=int(section.socket_mode, 8),
        socket_group=section.socket_group,
        clients_max=section.clients_max,
        notify_keyspace_events=section.notify_keyspace_events,
        tls=_server_files(section.certificate, section.key, section.client_ca),
        insecure=section.insecure,
    )


def _http(section: HttpSection) -> HttpConfig:
    return HttpConfig(
        listen=None if section.listen is None else parse_listen(section.listen),
        tls=_server_files(section.certificate, section.key),
        allowed_hosts=section.allowed_hosts,
        insecure=section.insecure,
    )


def _access(section: AccessSection, secrets: Mapping[str, Secret]) -> AccessConfig:
    files = {name: getattr(section, f"{name}_file") for name in SECRETS}
    return AccessConfig(
        {name: Path(path) for name, path in files.items() if path is not None}, secrets
    )


def _server_files(
    certificate: str | None, key: str | None, client_ca: str | None = None
) -> TlsServerFiles | None:
    if certificate is None or key is None:
        return None
    return TlsServerFiles(Path(certificate), Path(key), _path(client_ca))
