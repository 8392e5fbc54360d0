"""Where a value in force comes from, and what is wrong with one."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["default", "file", "environment", "flag"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from.

    Attributes:
        kind: a later one of `Kind` overrides an earlier one.
        name: of the file, the environment variable or the option; empty for a default.
        line: in the file, counted from 1; None where it cannot be told.
    """

    kind: Kind = "default"
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if self.kind == "file" and self.line is not None:
            return f"{self.name}:{self.line}"
        return self.name or self.kind


DEFAULT_SOURCE = Source()


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with what was given.

    Attributes:
        source: where it is.
        key: dotted; empty where the file is no TOML.
        text: what is wrong, and what to write.
    """

    source: Source
    key: str
    text: str

    def __str__(self) -> str:
        source = self.source
        if source.kind != "file":
            places = [source.name or self.key]
        else:
            line = "" if source.line is None else f"line {source.line}"
            places = [source.name, line, self.key]
        return ": ".join([*filter(None, places), self.text])
