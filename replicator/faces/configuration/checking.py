"""What cannot be meant: unknown names, values of another type or range, values that contradict."""

import difflib
import json
import os
import re
from collections.abc import Collection, Iterator

import msgspec

from replicator.core.resolvers import by_name
from replicator.errors import ConfigError, UsageError
from replicator.faces.access import SECRETS
from replicator.faces.configuration.config import settings_of
from replicator.faces.configuration.finding import undiscoverable
from replicator.faces.configuration.sections import (
    KEYS,
    SECTIONS,
    File,
    HttpSection,
    RespSection,
)
from replicator.faces.keywords import SECONDS_MAX, make_settings
from replicator.faces.limits import CLIENTS_MOST
from replicator.faces.listening import UNIX_PATH_BYTES_MAX, parse_listen
from replicator.faces.redis.flags import ALL, parse_flags

_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[?[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\]?")

_BESIDE: dict[str, dict[str, float]] = {
    "interval_min": {"interval_max": SECONDS_MAX},
    "interval_max": {"interval_min": 0.001},
}
"""What lets a setting that is compared with another one be looked at alone."""


_WORDS = {
    "text": "text in quotes",
    "path": "a path in quotes",
    "list of texts": "a list of texts in quotes",
    "number": "a number",
    "whole number": "a whole number",
}
"""What to write for a type of `Key.type`; for others its own words."""


def unfit(document: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Unknown sections and keys, and values of another type: dotted names, and what is wrong."""
    for section, table in document.items():
        if section not in SECTIONS:
            yield section, _unknown(section, "section", list(SECTIONS))
        elif not isinstance(table, dict):
            yield section, f"is a section: write [{section}] on a line of its own"
        else:
            if section == "tls" and not table:
                yield (
                    section,
                    ("is empty: name the files, or leave the section out to talk without TLS"),
                )
            for name, value in table.items():
                key = f"{section}.{name}"
                if section == "access" and name in SECRETS:
                    yield key, _secret(name)
                elif key not in KEYS:
                    known = [one.name for one in KEYS.values() if one.section == section]
                    yield key, _unknown(name, "key", known)
                elif what := misfit(key, value):
                    yield key, what


def misfit(key: str, value: object) -> str | None:
    """Why a value is of another type than a key's; None where it fits."""
    try:
        msgspec.convert(value, KEYS[key].kind)
    except msgspec.ValidationError:
        if isinstance(value, str) and KEYS[key].is_list:
            items = re.split(r"[\s,]+", value.strip())
            return f"{value!r}: write a list: {json.dumps(items, ensure_ascii=False)}"
        return f"{value!r}: write {_WORDS.get(KEYS[key].type, KEYS[key].type)}"
    if KEYS[key].is_path and "\0" in str(value):
        return f"{value!r}: a path holds no zero byte"
    return None


def _unknown(name: str, what: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(sorted(known))}"
    return f"unknown {what}: {hint}"


def _secret(name: str) -> str:
    return (
        "is never written here, where others read it: write it into a file of its own, named by "
        f"{name}_file, or into the environment variable REPLICATOR_ACCESS_{name.upper()}"
    )


def nonsense(file: File, told: Collection[str]) -> Iterator[tuple[str, str]]:
    """Values of the right type that cannot be meant; which can is for `make_settings` to say.

    Args:
        told: keys that are known to be wrong: in the file they have their defaults.
    """
    for key, (setting, value) in settings_of(file).items():
        try:
            make_settings(**_BESIDE.get(setting, {}), **{setting: value})
        except UsageError as error:
            yield key, str(error)
    yield from undiscoverable(file.discovery)
    intervals = ("replication.interval_min", "replication.interval_max")
    are_fit = not any(key in told for key in intervals)
    if are_fit and file.replication.interval_min > file.replication.interval_max:
        # One of them was given, and the other may be a default.
        if file.replication.interval_min == KEYS["replication.interval_min"].default:
            yield "replication.interval_max", "is less than interval_min, which is a default"
        else:
            yield "replication.interval_min", "is greater than interval_max"
    try:
        by_name(file.resolver.name)
    except ConfigError as error:
        yield "resolver.name", str(error)
    yield from _unservable("resp", file.resp)
    yield from _unservable("http", file.http)
    yield from _unfit_socket(file.resp)
    for host in file.http.allowed_hosts:
        if not _HOST.fullmatch(host):
            yield "http.allowed_hosts", f"{host!r}: write names without scheme, port and path"
    for name in SECRETS:
        if getattr(file.access, f"{name}_file") == "":
            yield f"access.{name}_file", "'': write the path of a file"


def _unservable(name: str, section: RespSection | HttpSection) -> Iterator[tuple[str, str]]:
    if section.listen is not None:
        try:
            parse_listen(section.listen)
        except ConfigError as error:
            yield f"{name}.listen", str(error)
    client_ca = section.client_ca if isinstance(section, RespSection) else None
    files = {"certificate": section.certificate, "key": section.key, "client_ca": client_ca}
    for key, path in files.items():
        if path == "":
            yield f"{name}.{key}", "'': write the path of a file"
    for key, other in (
        ("certificate", "key"),
        ("key", "certificate"),
        ("client_ca", "certificate"),
    ):
        if files[key] and files[other] is None:
            yield f"{name}.{key}", f"needs {other} beside it: name both"


def _unfit_socket(section: RespSection) -> Iterator[tuple[str, str]]:
    if section.socket == "":
        yield "resp.socket", "'': write the path of the socket, or leave it out"
    elif section.socket is not None and len(os.fsencode(section.socket)) > UNIX_PATH_BYTES_MAX:
        yield (
            "resp.socket",
            f"{section.socket!r}: choose a path of at most {UNIX_PATH_BYTES_MAX} bytes: a socket's "
            "address holds no longer one",
        )
    if not re.fullmatch(r"0?[0-7]{3}", section.socket_mode):
        yield "resp.socket_mode", f'{section.socket_mode!r}: write a mode as chmod, such as "0660"'
    if section.socket_group == "":
        yield "resp.socket_group", "'': write the name of a group, or leave it out"
    if not 1 <= section.clients_max <= CLIENTS_MOST:
        yield (
            "resp.clients_max",
            f"{section.clients_max}: write a whole number from 1 to {CLIENTS_MOST}",
        )
    try:
        parse_flags(section.notify_keyspace_events)
    except ValueError as error:
        flags = section.notify_keyspace_events
        yield (
            "resp.notify_keyspace_events",
            f'{flags!r}: {error}: write some of A{ALL}KE, as in Redis, "KEA" for all',
        )
