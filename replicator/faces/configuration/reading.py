"""The one reader of keys: a TOML file, environment variables and options become a `Config`.

Each of them is strict, a later one overrides, and everything that is wrong is told at once, with
its line and key, or its variable or option, and what to write instead: an unknown key names the
nearest known one, a value says what it may be.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from replicator.errors import ConfigError
from replicator.faces.configuration.checking import misfit, nonsense, unfit
from replicator.faces.configuration.config import Config, config_of
from replicator.faces.configuration.environment import NOTHING, Environment
from replicator.faces.configuration.sections import KEYS, File
from replicator.faces.configuration.source import DEFAULT_SOURCE, Mistake, Source
from replicator.faces.limits import CONFIG_BYTES_MAX

_HEADER = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_ENTRY = re.compile(r"""\s*["']?([\w.-]+)["']?\s*=""")
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

DEFAULT = config_of(File(), {}, {})
"""What is in force where nobody says anything."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a command was given: read it again, and what has changed in the file is in force.

    Attributes:
        path: of the file; None where there is none.
        environment: as it was when the process started.
        flags: values by dotted key, from options of the command.
    """

    path: Path | None = None
    environment: Environment = NOTHING
    flags: Mapping[str, object] = field(default_factory=dict)

    def read(self) -> Config:
        """The configuration.

        Raises:
            ConfigError: the file cannot be read, or something has mistakes; all are named.
        """
        text = "" if self.path is None else read_text(self.path)
        mistakes, config = self.examine(text)
        if config is None:
            raise ConfigError("\n".join(map(str, mistakes)))
        return config

    def examine(self, text: str) -> tuple[list[Mistake], Config | None]:
        """The mistakes, those of the file by their lines; the configuration where there are none.

        Args:
            text: of the file.
        """
        if not text and not self.flags and self.environment == NOTHING:
            return [], DEFAULT
        layers = _Layers(text, self.path)
        layers.add_environment(self.environment)
        layers.add_flags(self.flags)
        file = layers.file()
        layers.complain(nonsense(file, layers.told))
        if layers.mistakes:
            return layers.sorted_mistakes(), None
        return [], config_of(file, layers.sources, self.environment.secrets)


def read_config(path: Path) -> Config:
    """What a file alone says.

    Raises:
        ConfigError: it cannot be read, or has mistakes; all are named.
    """
    return Given(path).read()


def read_text(path: Path) -> str:
    """The text of a configuration file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
        if len(data) > CONFIG_BYTES_MAX:
            raise ConfigError(
                f"{path} is larger than {CONFIG_BYTES_MAX >> 20} MiB: name the right file"
            )
        return data.decode()
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} cannot be read: {error}") from error


class _Layers:
    """Values from several places, a later one overriding an earlier one, and all their mistakes."""

    def __init__(self, text: str, path: Path | None) -> None:
        self.mistakes: list[Mistake] = []
        self.sources: dict[str, Source] = {}
        self._values: dict[str, object] = {}
        self._text = text
        self._name = "" if path is None else str(path)
        self._base = Path() if path is None else path.parent
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.mistakes.append(self._no_toml(str(error)))
            document = {}
        wrong = dict(unfit(document))
        for name, what in wrong.items():
            self.mistakes.append(Mistake(self._in_file(name), name, what))
        for section, table in document.items():
            for name, value in table.items() if isinstance(table, dict) else ():
                key = f"{section}.{name}"
                if section not in wrong and key not in wrong:
                    self._set(key, value, self._in_file(key), self._base)

    def add_environment(self, environment: Environment) -> None:
        """Take what variables say."""
        self.mistakes += environment.mistakes
        for key, (value, source) in environment.values.items():
            self._take(key, value, source)

    def add_flags(self, flags: Mapping[str, object]) -> None:
        """Take what options say."""
        for key, value in flags.items():
            self._take(key, value, Source("flag", KEYS[key].flag))

    def file(self) -> File:
        """The sections, of all values that fit."""
        document: dict[str, dict[str, object]] = {}
        for key, value in self._values.items():
            section, _, name = key.partition(".")
            document.setdefault(section, {})[name] = value
        return msgspec.convert(document, File)

    @property
    def told(self) -> list[str]:
        """The keys that are known to be wrong."""
        return [mistake.key for mistake in self.mistakes]

    def complain(self, found: Iterable[tuple[str, str]]) -> None:
        """Add mistakes, but for those that follow from one that is told already."""
        told = self.told
        for key, what in found:
            if not any(one == key or one.startswith(f"{key}.") for one in told):
                self.mistakes.append(Mistake(self._source_of(key), key, what))

    def sorted_mistakes(self) -> list[Mistake]:
        """All mistakes, those of the file by their lines first."""
        return sorted(
            self.mistakes, key=lambda one: (one.source.kind != "file", one.source.line or 0)
        )

    def _take(self, key: str, value: object, source: Source) -> None:
        if what := misfit(key, value):
            self.mistakes.append(Mistake(source, key, what))
        else:
            self._set(key, value, source, Path())

    def _set(self, key: str, value: object, source: Source, base: Path) -> None:
        if KEYS[key].is_path and isinstance(value, str) and value:
            try:
                value = str(base / Path(value).expanduser())
            except RuntimeError as error:  # of a user that is not there
                self.mistakes.append(Mistake(source, key, f"{value!r}: {error}"))
                return
        self._values[key] = value
        self.sources[key] = source

    def _source_of(self, key: str) -> Source:
        """Where a key, or a section, was given; or the one that it contradicts."""
        if key in self.sources:
            return self.sources[key]
        if "." not in key:
            of_section = [one for name, one in self.sources.items() if name.startswith(f"{key}.")]
            if any(one.kind == "file" for one in of_section) or not of_section:
                return self._in_file(key)
            return of_section[-1]
        section = key.partition(".")[0]
        return next(
            (one for name, one in self.sources.items() if name.startswith(f"{section}.")),
            DEFAULT_SOURCE,
        )

    def _in_file(self, key: str) -> Source:
        return Source("file", self._name, _line_of(key, self._text))

    def _no_toml(self, error: str) -> Mistake:
        place = _TOML_PLACE.search(error)
        if place is None:
            return Mistake(Source("file", self._name), "", error)
        line = int(place[1]) if place[1] else max(1, len(self._text.splitlines()))
        column = f" (column {place[2]})" if place[2] else " (at the end)"
        return Mistake(Source("file", self._name, line), "", error[: place.start()] + column)


def _line_of(key: str, text: str) -> int | None:
    """The line on which a section, or a key of it, stands when written in the usual way; that of
    the section where the key is within braces."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            section = header[1]
            here = section
        elif entry := _ENTRY.match(line):
            here = f"{section}.{entry[1]}".lstrip(".")
        else:
            continue
        lines.setdefault(here, number)
    return lines.get(key, lines.get(key.partition(".")[0]))
