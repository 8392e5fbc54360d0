"""Ready-made resolvers, and the names by which nodes announce theirs to each other (R6).

Two kinds. The *choosing* ones show one of the versions as it was written; to them a delete is a
write like any other::

    highest_clock    the default order: higher clock, then later timestamp, then greater dot
    latest_timestamp later timestamp, then higher clock, then greater dot
    prefer_origin    the version of the origin named first; those of others in default order

The *merging* ones combine what was put at the same time, so that no part of it is lost; to them a
put beats a delete, in whatever order they are folded: the delete had not seen that put::

    json_merge       JSON objects, key by key
    set_union        JSON arrays, as sorted sets
    maximum          the greater of two decimal numbers

Where a merging one cannot read both values, the default order decides between the two. All are
pure, take time in proportion to the values and never raise, so they need no time limit.

JSON is read strictly (RFC 8259 without the extensions of Python's reader, UTF-8, at most
`DEPTH_MAX` deep) and numbers stay the text they were written as: a merge rounds nothing, and the
same bytes come out on every machine. The *canonical form* is UTF-8 without white space, object
keys in the order of their code points.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from replicator.config import NAME_BYTES_MAX
from replicator.core.dots import format_origin, parse_origin
from replicator.core.record import Version
from replicator.core.resolve import Resolver, ResolverMode, default_order, default_resolver
from replicator.errors import ConfigError, UsageError

DEPTH_MAX = 100
"""JSON that is nested deeper is not merged: what a reader can hold depends on the machine."""

_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
_PREFER_ORIGIN = "prefer_origin"

highest_clock = default_resolver
"""The default order under a name of its own: what is in force when nobody names a resolver."""


def latest_timestamp(a: Version, b: Version) -> bool:
    """Accept the later timestamp; of equal ones the higher clock, then the greater dot.

    Timestamps follow the nodes' wall clocks: one that runs ahead wins more than its share.
    """
    return (a.timestamp, a.clock, a.dot) > (b.timestamp, b.clock, b.dot)


def prefer_origin(*origins: str) -> Resolver:
    """A resolver that accepts the version of the origin named first.

    Versions of origins that are not named come after all that are; among themselves the default
    order decides. A delete of a preferred origin wins like its put.

    Args:
        origins: 16 hex digits each, as ``status()`` shows them, the most preferred first.

    Raises:
        UsageError: no origin, a malformed one, or one that is named twice.
    """
    if not origins:
        raise UsageError("prefer_origin needs at least one origin, as status shows them")
    parsed = tuple(parse_origin(origin) for origin in origins)
    if len(set(parsed)) < len(parsed):
        raise UsageError(f"prefer_origin names an origin twice: {', '.join(origins)}")
    return _PreferOrigin(parsed)


def json_merge(a: Version, b: Version) -> bool | bytes:
    """Merge two JSON objects key by key, in canonical form.

    A key of one side alone is kept. For a key of both, objects are merged in turn; of anything
    else the side that is greater in default order wins. Of three and more versions, what two of
    them merged to counts as new as the newer one. A put beats a delete; where one of two puts
    is no JSON object, the default order decides.
    """
    return _merge_values(a, b, _merge_objects)


def set_union(a: Version, b: Version) -> bool | bytes:
    """Merge two JSON arrays into the sorted union of their elements, in canonical form.

    Elements are the same where their canonical forms are (``1`` and ``1.0`` are two). Numbers
    come first, by size, then everything else by its canonical form. A put beats a delete; where
    one of two puts is no JSON array, the default order decides.

    Removing an element is a put without it: it holds against the versions which that put saw,
    while a concurrent put brings the element back.
    """
    return _merge_values(a, b, _unite_arrays)


def maximum(a: Version, b: Version) -> bool:
    """Accept the greater of two numbers in decimal text, such as ``12``, ``-0.5`` or ``1e-7``.

    They are compared exactly. A put beats a delete; where one of two puts is no number (an
    exponent has at most four digits), or both are equal, the default order decides.
    """
    if a.value is None or b.value is None:
        return b.is_delete
    x, y = _number_in(a.value), _number_in(b.value)
    if x is None or y is None or x == y:
        return default_resolver(a, b)
    return x > y


READY_MADE: Mapping[str, Resolver] = MappingProxyType(
    {
        "highest_clock": highest_clock,
        "json_merge": json_merge,
        "latest_timestamp": latest_timestamp,
        "maximum": maximum,
        "set_union": set_union,
    }
)
"""The resolvers that take no arguments, by name; `prefer_origin` is the one that does."""


def by_name(text: str) -> Resolver:
    """The resolver that a configuration or a command line names.

    Args:
        text: a name from `READY_MADE`, or ``prefer_origin:`` and origins, comma-separated. The
            inverse of `resolver_name` for ready-made ones.

    Raises:
        ConfigError: there is no such resolver, or its origins are malformed.
    """
    if text in READY_MADE:
        return READY_MADE[text]
    name, _, arguments = text.partition(":")
    if name == _PREFER_ORIGIN:
        try:
            return prefer_origin(*(arguments.split(",") if arguments else ()))
        except UsageError as error:
            raise ConfigError(
                f"resolver {text!r}: {error}; write {_PREFER_ORIGIN}:ORIGIN,ORIGIN"
            ) from error
    if name in READY_MADE:
        raise ConfigError(f"resolver {text!r}: {name} takes no arguments")
    names = sorted([*READY_MADE, _PREFER_ORIGIN])
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "there are " + ", ".join(names)
    raise ConfigError(f"there is no resolver {text!r}: {hint}")


def resolver_name(resolver: Resolver | None) -> str:
    """What a node announces: equal on nodes that settle conflicts the same way.

    Args:
        resolver: None is the default order.

    Returns:
        The name that `by_name` takes for a ready-made one, else the module-qualified name of the
        function or of the callable's class. Beyond `NAME_BYTES_MAX` bytes it ends in a hash.
    """
    if isinstance(resolver, _PreferOrigin):
        origins = ",".join(map(format_origin, resolver.origins))
        return _shortened(f"{_PREFER_ORIGIN}:{origins}")
    for name, ready_made in READY_MADE.items():
        if resolver is ready_made:
            return name
    if resolver is None:
        return resolver_name(default_resolver)
    named = resolver if hasattr(resolver, "__qualname__") else type(resolver)
    return _shortened(f"{named.__module__}.{named.__qualname__}")


def announced_name(resolver: Resolver | None, mode: ResolverMode) -> str:
    """What a node tells its peers: equal where conflicts are settled the same way, by mode too."""
    name = resolver_name(resolver)
    return name if mode == "concurrent" else _shortened(f"{name} ({mode})")


def is_trusted(resolver: Resolver | None) -> bool:
    """Whether a resolver is ready-made: it cannot raise or hang, so it needs no time limit."""
    return (
        resolver is None
        or isinstance(resolver, _PreferOrigin)
        or any(resolver is ready_made for ready_made in READY_MADE.values())
    )


@dataclass(frozen=True, slots=True)
class _PreferOrigin:
    """See `prefer_origin`. A class, so that its name can tell the origins."""

    origins: tuple[int, ...]

    def __call__(self, a: Version, b: Version) -> bool:
        rank_a, rank_b = self._rank(a), self._rank(b)
        return default_resolver(a, b) if rank_a == rank_b else rank_a < rank_b

    def _rank(self, version: Version) -> int:
        origin = version.dot.origin
        return self.origins.index(origin) if origin in self.origins else len(self.origins)


class _Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


def _merge_values(
    a: Version, b: Version, merge: Callable[[object, object], object]
) -> bool | bytes:
    """What the merging resolvers share.

    Args:
        merge: given both values as read, the one greater in default order first; raises
            ValueError where they cannot be merged.
    """
    if a.value is None or b.value is None:
        return b.is_delete
    a_is_newer = default_order(a) > default_order(b)
    newer, older = (a.value, b.value) if a_is_newer else (b.value, a.value)
    try:
        merged = merge(_read(newer), _read(older))
        return _canonical(merged).encode()
    except (ValueError, RecursionError):
        return default_resolver(a, b)


def _merge_objects(newer: object, older: object) -> dict[str, object]:
    if not isinstance(newer, dict) or not isinstance(older, dict):
        raise ValueError("not two objects")
    result = older | newer
    for key in older.keys() & newer.keys():
        if isinstance(older[key], dict) and isinstance(newer[key], dict):
            result[key] = _merge_objects(newer[key], older[key])
    return result


def _unite_arrays(newer: object, older: object) -> list[object]:
    if not isinstance(newer, list) or not isinstance(older, list):
        raise ValueError("not two arrays")
    elements = {_canonical(element): element for element in older + newer}
    return sorted(elements.values(), key=_place_in_set)


def _place_in_set(element: object) -> tuple[bool, Decimal, str]:
    number = _number_in(element) if isinstance(element, _Number) else None
    return (number is None, number or Decimal(0), _canonical(element))


def _number_in(text: bytes | str) -> Decimal | None:
    """The number that a text is in full, exactly; None where it is something else."""
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


def _read(value: bytes) -> object:
    """The value as JSON, its numbers as `_Number`.

    Raises:
        ValueError, RecursionError: it is none, or nested too deep.
    """
    result: object = json.loads(
        value.decode(), parse_int=_Number, parse_float=_Number, parse_constant=_refuse
    )
    _check_depth(result, DEPTH_MAX)
    return result


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def _check_depth(value: object, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth == 0:
            raise ValueError("nested too deep")
        for inner in value.values() if isinstance(value, dict) else value:
            _check_depth(inner, depth - 1)


def _canonical(value: object) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        members = (f"{_canonical(key)}:{_canonical(value[key])}" for key in sorted(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _shortened(name: str) -> str:
    data = name.encode()
    if len(data) <= NAME_BYTES_MAX:
        return name
    digest = hashlib.blake2b(data, digest_size=8).hexdigest()
    return data[: NAME_BYTES_MAX - len(digest) - 1].decode(errors="ignore") + "~" + digest
