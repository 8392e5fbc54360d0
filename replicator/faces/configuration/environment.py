"""What environment variables say: one for every key, and the secrets, which are no keys.

The variable of ``[section] key`` is ``REPLICATOR_SECTION_KEY``; a list is written with commas, a
switch as true or false, and an empty variable is as none. ``REPLICATOR_DATA`` is short for
``REPLICATOR_NODE_DATA``.

A cluster of Kubernetes gives every pod variables for each of its services. Those of a service that
is called replicator, or replicator-http, begin as ours do; they are left alone.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field

from replicator.errors import ConfigError
from replicator.faces.access import SECRETS, Secret
from replicator.faces.configuration.sections import KEYS, SECTIONS, Key
from replicator.faces.configuration.source import Mistake, Source

PREFIX = "REPLICATOR_"
DATA_SHORT = "REPLICATOR_DATA"
_DATA = "node.data"

_VARIABLES = {key.variable: key for key in KEYS.values()} | {DATA_SHORT: KEYS[_DATA]}
SECRET_VARIABLES = {f"REPLICATOR_ACCESS_{name.upper()}": name for name in SECRETS}
"""The variables that hold secrets, and what `replicator.faces.access` calls those."""

_SWITCHES = {"true": True, "1": True, "yes": True, "on": True}
_SWITCHES |= {"false": False, "0": False, "no": False, "off": False}

_SERVICE_LINK = re.compile(
    r"\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")

_ALIKE = 0.6
_ALIKE_ANYWHERE = 0.9
"""How much a variable must look like one of ours to be taken for it, within a section, and where it
is of none; there it may be somebody else's."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that are ours.

    Attributes:
        values: by dotted key: the value, and the variable.
        secrets: by their names, see `replicator.faces.access.SECRETS`.
        mistakes: variables that cannot be meant.
    """

    values: Mapping[str, tuple[object, Source]] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> "Environment":
        """Read the variables, and take the secrets out of them: what the process starts later does
        not inherit those.

        Args:
            environ: such as `os.environ`.
        """
        values: dict[str, tuple[object, Source]] = {}
        secrets: dict[str, Secret] = {}
        mistakes = list(_unknown(environ))
        for variable, name in SECRET_VARIABLES.items():
            try:
                if text := environ.pop(variable, ""):
                    secrets[name] = Secret(text, variable)
            except ConfigError as error:
                mistakes.append(Mistake(Source(), "", str(error)))
        for variable, key in _VARIABLES.items():
            text = environ.get(variable, "")
            if not text or _SERVICE_ADDRESS.match(text):
                continue
            source = Source("environment", variable)
            try:
                value = _typed(text, key)
            except ValueError as error:
                mistakes.append(Mistake(source, str(key), str(error)))
                continue
            if str(key) in values and values[str(key)][0] != value:
                other = values[str(key)][1].name
                mistakes.append(Mistake(source, str(key), f"contradicts {other}: keep one"))
            values[str(key)] = (value, source)
        return cls(values, secrets, tuple(mistakes))


NOTHING = Environment()
"""No variable that is ours."""


def _typed(text: str, key: Key) -> object:
    """The value that a text means.

    Raises:
        ValueError: it means none; the message says what to write.
    """
    if not key.is_path and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("is not UTF-8: write it anew")
    if key.is_list:
        return [part for part in map(str.strip, text.split(",")) if part]
    if key.is_switch:
        if (switch := _SWITCHES.get(text.strip().lower())) is None:
            raise ValueError(f"{text!r}: write true or false")
        return switch
    if key.is_number:
        return _number(text.strip())
    return text


def _number(text: str) -> float:
    try:
        return int(text, 10) if re.fullmatch(r"[+-]?[0-9]{1,20}", text) else float(text)
    except ValueError:
        raise ValueError(f"{text!r}: write a number") from None


def _unknown(environ: Mapping[str, str]) -> Iterator[Mistake]:
    known = [*_VARIABLES, *SECRET_VARIABLES]
    sections = tuple(f"{PREFIX}{section.upper()}_" for section in SECTIONS)
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or _SERVICE_LINK.fullmatch(name):
            continue
        section = next(filter(name.startswith, sections), "")
        # Within a section, how alike the keys are: all variables of it begin alike.
        rivals = {one.removeprefix(section): one for one in known if one.startswith(section)}
        alike = _ALIKE if section else _ALIKE_ANYWHERE
        nearest = difflib.get_close_matches(name.removeprefix(section), rivals, 1, alike)
        if nearest or section:
            hint = f"did you mean {rivals[nearest[0]]}?" if nearest else "docs/CONFIG.md lists all"
            yield Mistake(Source("environment", name), "", f"unknown variable: {hint}")
