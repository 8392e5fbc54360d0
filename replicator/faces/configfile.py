"""The one configuration file: TOML, strict. Every key is a field of a section below.

A mistake is told with its line, its key and what to write instead, all mistakes at once: an
unknown key names the nearest known one, a value says what it may be. Later keys are fields more;
there is no second reader.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from replicator.config import (
    CLUSTER_DEFAULT,
    DISCOVERY_INTERVAL,
    HOST_DEFAULT,
    PORT_DEFAULT,
    Settings,
)
from replicator.core.resolve import Resolver, ResolverMode
from replicator.core.resolvers import by_name
from replicator.errors import ConfigError, UsageError
from replicator.faces.keywords import SECONDS_MAX, make_settings

if TYPE_CHECKING:
    from replicator.net.discovery.provider import Provider

_DEFAULTS = Settings()

_HEADER = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_ENTRY = re.compile(r"""\s*["']?([\w.-]+)["']?\s*=""")


class NodeSection(Struct, frozen=True):
    """``[node]``: who this node is."""

    name: str | None = None
    data: str | None = None
    cluster: str = CLUSTER_DEFAULT


class ListenSection(Struct, frozen=True):
    """``[listen]``: where peers reach it."""

    host: str = HOST_DEFAULT
    port: int = PORT_DEFAULT
    insecure: bool = False


class TlsSection(Struct, frozen=True):
    """``[tls]``: the files that make its connections safe, see `replicator.net.tls.TlsFiles`."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    revoked: str | None = None


class PeersSection(Struct, frozen=True):
    """``[peers]``: whom it dials."""

    static: tuple[str, ...] = ()


class DiscoverySection(Struct, frozen=True):
    """``[discovery]``: how it finds others that nobody names; see `replicator.discovery`."""

    multicast: bool = True
    interfaces: tuple[str, ...] | None = None
    dns: tuple[str, ...] = ()
    srv: tuple[str, ...] = ()
    file: str | None = None
    command: tuple[str, ...] = ()
    interval: float = DISCOVERY_INTERVAL


class ReplicationSection(Struct, frozen=True):
    """``[replication]``: how often, how much, how safe; see `replicator.config.Settings`."""

    join_timeout: float = _DEFAULTS.join_timeout
    sync: bool = _DEFAULTS.sync
    sync_interval: float = _DEFAULTS.sync_interval
    interval_min: float = _DEFAULTS.interval_min
    interval_max: float = _DEFAULTS.interval_max
    holdoff_max: float = _DEFAULTS.holdoff_max
    linger: float = _DEFAULTS.linger
    keepalive: float = _DEFAULTS.keepalive
    connect_timeout: float = _DEFAULTS.connect_timeout
    reask_timeout: float = _DEFAULTS.reask_timeout
    atomic_round_bytes: int = _DEFAULTS.atomic_round_bytes
    clock_skew_max: float = _DEFAULTS.clock_skew_max
    fanout: int = _DEFAULTS.fanout
    connections_max: int = _DEFAULTS.connections_max
    forget_after: float | None = _DEFAULTS.forget_after
    dial_members: bool = _DEFAULTS.dial_members
    digest_interval: float = _DEFAULTS.digest_interval


class ResolverSection(Struct, frozen=True):
    """``[resolver]``: who wins a conflict. `name` as `replicator.core.resolvers.by_name`."""

    name: str = "highest_clock"
    mode: ResolverMode = "concurrent"
    timeout: float = _DEFAULTS.resolver_timeout


class File(Struct, frozen=True):
    """All sections."""

    node: NodeSection = NodeSection()
    listen: ListenSection = ListenSection()
    tls: TlsSection = TlsSection()
    peers: PeersSection = PeersSection()
    discovery: DiscoverySection = DiscoverySection()
    replication: ReplicationSection = ReplicationSection()
    resolver: ResolverSection = ResolverSection()


@dataclass(frozen=True, slots=True)
class Config:
    """What a file, or none, comes to.

    Attributes:
        data: the directory of the LevelDB, where the file names one.
        discovery: how peers are found; the path in it is absolute.
    """

    data: Path | None
    discovery: DiscoverySection
    settings: Settings
    resolver: Resolver
    resolver_mode: ResolverMode

    @property
    def keywords(self) -> dict[str, Any]:
        """What `replicate` and `open_replica` are given."""
        return {
            **_fields(self.settings),
            "discovery": [make() for _, make in _providers(self.discovery)],
            "resolver": self.resolver,
            "resolver_mode": self.resolver_mode,
        }

    def without_multicast(self) -> "Config":
        """The same, not looking for nodes on the network."""
        return replace(self, discovery=msgspec.structs.replace(self.discovery, multicast=False))

    def override(self, **changes: object) -> "Config":
        """The same with other settings.

        Raises:
            ConfigError: a value is malformed.
        """
        return replace(self, settings=make_settings(**{**_fields(self.settings), **changes}))


def _fields(settings: Settings) -> dict[str, Any]:
    """The settings by name; `asdict` would copy what they hold."""
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a file.

    Attributes:
        line: counted from 1; None where it cannot be told.
        key: dotted; empty where the file is no TOML.
    """

    line: int | None
    key: str
    text: str

    def __str__(self) -> str:
        place = "" if self.line is None else f"line {self.line}: "
        return place + (f"{self.key}: {self.text}" if self.key else self.text)


def read_config(path: Path) -> Config:
    """Read a file.

    Raises:
        ConfigError: it cannot be read, or has mistakes; all are named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    mistakes, config = parse_config(text, base=path.parent)
    if config is None:
        raise ConfigError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return config


def parse_config(text: str, base: Path) -> tuple[list[Mistake], Config | None]:
    """The mistakes of a text, in the order of its sections; the configuration where there are none.

    Args:
        base: what relative paths start from.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [Mistake(None, "", str(error))], None
    found = list(_unfit(document)) or list(_nonsense(msgspec.convert(document, File), base))
    if found:
        return [Mistake(_line_of(key, text), key, what) for key, what in found], None
    return [], _config(msgspec.convert(document, File), base)


def _unfit(document: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Unknown keys and values of another type or range: key and what is wrong."""
    sections = {field.name: field.type for field in msgspec.structs.fields(File)}
    for name, table in document.items():
        if name not in sections:
            yield name, _unknown(name, "section", list(sections))
        elif not isinstance(table, dict):
            yield name, f"is a section: write [{name}] on a line of its own"
        else:
            if name == "tls" and not table:
                yield name, "is empty: name the files, or leave the section out to talk without TLS"
            types = {field.name: field.type for field in msgspec.structs.fields(sections[name])}
            for key, value in table.items():
                if key not in types:
                    yield f"{name}.{key}", _unknown(key, "key", list(types))
                elif what := _misfit(value, types[key]):
                    yield f"{name}.{key}", what


def _misfit(value: object, kind: object) -> str | None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        if isinstance(value, str) and "array" in str(error):
            items = re.split(r"[\s,]+", value.strip())
            return f"{value!r}: write a list: {json.dumps(items, ensure_ascii=False)}"
        return f"{value!r}: {str(error).replace('`', '')}"
    return None


def _unknown(name: str, what: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(sorted(known))}"
    return f"unknown {what}: {hint}"


def _nonsense(file: File, base: Path) -> Iterator[tuple[str, str]]:
    """Values of the right type that cannot be meant; which can is for `make_settings` to say."""
    for key, (setting, value) in _settings(file, base).items():
        try:
            make_settings(**_BESIDE.get(setting, {}), **{setting: value})
        except UsageError as error:
            yield key, str(error)
    yield from _undiscoverable(file.discovery)
    if file.replication.interval_min > file.replication.interval_max:
        yield "replication.interval_min", "is greater than interval_max"
    try:
        by_name(file.resolver.name)
    except ConfigError as error:
        yield "resolver.name", str(error)


def _undiscoverable(section: DiscoverySection) -> Iterator[tuple[str, str]]:
    """What is wrong with the ways of finding peers."""
    if section.interfaces is not None and not section.multicast:
        yield "discovery.interfaces", "is for multicast, which is switched off"
    if section.interval != DISCOVERY_INTERVAL:
        from replicator.net.discovery.pace import checked_interval

        try:
            checked_interval("interval", section.interval)
        except UsageError as error:
            yield "discovery.interval", str(error)
            section = msgspec.structs.replace(section, interval=DISCOVERY_INTERVAL)
    for key, make in _providers(section):
        try:
            make()
        except UsageError as error:
            yield f"discovery.{key}", str(error)


def _providers(section: DiscoverySection) -> Iterator[tuple[str, Callable[[], "Provider"]]]:
    """What finds peers: by which key, and how it is made."""
    if section == DiscoverySection(multicast=False):
        return
    # Here, not at the top: this imports trio, which most commands never need.
    from replicator import discovery

    interval = section.interval
    if section.multicast:
        yield "interfaces", partial(discovery.multicast, section.interfaces)
    for name in section.dns:
        yield "dns", partial(discovery.dns, name, interval=interval)
    for name in section.srv:
        yield "srv", partial(discovery.srv, name, interval=interval)
    if section.file is not None:
        yield "file", partial(discovery.file, section.file)
    if section.command:
        yield "command", partial(discovery.command, section.command, interval=interval)


_BESIDE: dict[str, dict[str, float]] = {
    "interval_min": {"interval_max": SECONDS_MAX},
    "interval_max": {"interval_min": 0.001},
}
"""What lets a setting that is compared with another one be looked at alone."""


def _settings(file: File, base: Path) -> dict[str, tuple[str, object]]:
    """The file's keys that are settings: by what name, and with which value."""
    return {
        "node.name": ("name", file.node.name),
        "node.cluster": ("cluster", file.node.cluster),
        "listen.host": ("host", file.listen.host),
        "listen.port": ("port", file.listen.port),
        "listen.insecure": ("insecure", file.listen.insecure),
        "tls": ("tls", _tls(file.tls, base)),
        "peers.static": ("peers", file.peers.static),
        "resolver.timeout": ("resolver_timeout", file.resolver.timeout),
        **{
            f"replication.{name}": (name, value)
            for name, value in msgspec.structs.asdict(file.replication).items()
        },
    }


def _tls(section: TlsSection, base: Path) -> dict[str, str] | None:
    """The files that the section names; relative ones start from `base`."""
    given = {
        name: path for name, path in msgspec.structs.asdict(section).items() if path is not None
    }
    return {
        name: path and str(base / Path(path).expanduser()) for name, path in given.items()
    } or None


def _config(file: File, base: Path) -> Config:
    settings = make_settings(**dict(_settings(file, base).values()))
    data = None if file.node.data is None else base / Path(file.node.data).expanduser()
    discovery = file.discovery
    if discovery.file is not None:
        path = str(base / Path(discovery.file).expanduser())
        discovery = msgspec.structs.replace(discovery, file=path)
    return Config(data, discovery, settings, by_name(file.resolver.name), file.resolver.mode)


DEFAULT = _config(File(), Path())
"""What is in force without a file."""


def _line_of(key: str, text: str) -> int | None:
    """The line on which a section, or a key of it, stands when written in the usual way."""
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            section = header[1]
            here = section
        elif entry := _ENTRY.match(line):
            here = f"{section}.{entry[1]}".lstrip(".")
        else:
            continue
        if here == key:
            return number
    return None
