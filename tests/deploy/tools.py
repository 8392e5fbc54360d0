"""Programs that check files: skipped where they are not there, but for CI, where they must be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
DOCS = ROOT / "docs"


def tool(name: str) -> str:
    """The path of a program: beside this Python, or of the machine."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not there: scripts/test installs it")
    if found is None:
        pytest.skip(f"{name} is not there: scripts/test installs it")
    return found


def checked(*command: str | Path, directory: Path = ROOT) -> str:
    """Run a program that must end with 0, and give what it printed."""
    done = subprocess.run(
        [tool(str(command[0])), *map(str, command[1:])],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=directory,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def faults(*command: str | Path, directory: Path = ROOT) -> str:
    """Run a program that must complain, and give what it printed."""
    done = subprocess.run(
        [tool(str(command[0])), *map(str, command[1:])],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=directory,
    )
    assert done.returncode != 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def documents(path: Path) -> list[Any]:
    """The documents of a YAML file."""
    return [one for one in yaml.safe_load_all(path.read_text()) if one is not None]


def document(path: Path) -> Any:
    """The one document of a YAML file."""
    (one,) = documents(path)
    return one
