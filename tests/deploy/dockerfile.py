"""Reads a Dockerfile, as far as tests need it."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Stage:
    """One stage.

    Attributes:
        base: the image it starts from.
        steps: instructions in their order, with what follows them.
    """

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def every(self, instruction: str) -> list[str]:
        """What follows each of these instructions."""
        return [rest for name, rest in self.steps if name == instruction]

    def last(self, instruction: str) -> str:
        """What follows the last of these instructions."""
        return self.every(instruction)[-1]

    def exec_form(self, instruction: str) -> Any:
        """The command of the last of these instructions, a list."""
        rest = self.last(instruction)
        return json.loads(rest[rest.index("[") :])


def read_dockerfile(path: Path) -> list[Stage]:
    """The stages of a Dockerfile."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", "", text)
    stages: list[Stage] = []
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append(Stage(rest))
        elif name and name != "ARG":
            stages[-1].steps.append((name, rest))
    return stages
