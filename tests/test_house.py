"""The style of the house, held: which way imports point, how long a module is, that public names
say what they are, and what an installation without extras can do.

A failure names file and line, and which rule it is.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "replicator"

LINES_MAX = 400

LEAVES = frozenset({"chance", "config", "errors"})
"""Modules that anyone imports, and that import none of ours."""

FLOORS: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "protocol": frozenset({"core"}),
    "store": frozenset({"core"}),
    "net": frozenset({"protocol", "core"}),
    "composition": frozenset({"net", "protocol", "store", "core"}),
    "faces": frozenset({"composition", "net", "protocol", "store", "core"}),
}
"""What each floor may import of ours, beside itself and the leaves. The composition is every other
module that lies directly in the package; the package itself is a face."""

PACKAGES: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "protocol": frozenset({"msgpack"}),
    "store": frozenset({"msgpack", "plyvel"}),
    "net": frozenset({"cryptography", "dns", "ifaddr", "trio", "zeroconf"}),
    "composition": frozenset({"plyvel", "trio"}),
    "faces": frozenset(
        {
            "anycorn",
            "anyio",
            "click",
            "cryptography",
            "hiredis",
            "msgspec",
            "plyvel",
            "prometheus_client",
            "rich",
            "starlette",
            "trio",
        }
    ),
}
"""What each floor may import beyond the standard library."""

WORLD = frozenset(
    {
        "asyncio",
        "datetime",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "select",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "uuid",
    }
)
"""What the pure floors leave alone: clocks, randomness, files, sockets, threads, logs."""

PURE = ("core", "protocol")

EXTRAS = (
    "anycorn",
    "anyio",
    "click",
    "cryptography",
    "dns",
    "hiredis",
    "msgspec",
    "prometheus_client",
    "rich",
    "starlette",
)


class Import(NamedTuple):
    module: str
    line: int


def sources() -> Iterator[Path]:
    return (path for path in sorted(PACKAGE.rglob("*.py")))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> Iterator[Import]:
    """Every module that a file imports anywhere, under its absolute name."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path, node.lineno)}: a relative import"
            module = node.module or ""
            names = [""] if module != "replicator" else [f".{alias.name}" for alias in node.names]
            for name in names:
                yield Import(module + name, node.lineno)


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def floor_of(parts: tuple[str, ...]) -> str:
    """The floor, or the leaf, of a module of ours.

    Args:
        parts: its name without the leading ``replicator``, split; empty for the package itself.
    """
    if not parts:
        return "faces"
    if parts[0] in FLOORS or parts[0] in LEAVES:
        return parts[0]
    return "composition"


def floor_of_file(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return floor_of(parts[:-1] if parts[-1] == "__init__" else parts)


def wrong_imports(path: Path) -> Iterator[str]:
    floor = floor_of_file(path)
    allowed = FLOORS[floor] | {floor} | LEAVES if floor in FLOORS else frozenset[str]()
    for module, line in imports(path):
        top, *rest = module.split(".")
        if top == "replicator":
            target = floor_of(tuple(rest))
            if target not in allowed:
                yield f"{place(path, line)}: {floor} must not import {target} ({module})"
            if floor in PURE and target == "chance":
                yield f"{place(path, line)}: {floor} is pure and must not import {module}"
        elif top in sys.stdlib_module_names:
            if top == "random" and floor != "chance":
                yield f"{place(path, line)}: take replicator.chance: {module} is the program's own"
            if floor in PURE and top in WORLD:
                yield f"{place(path, line)}: {floor} is pure and must not import {module}"
        elif top not in PACKAGES.get(floor, ()):
            yield f"{place(path, line)}: {floor} must not depend on {module}"


def without_docstring(path: Path) -> Iterator[str]:
    tree = parsed(path)
    if ast.get_docstring(tree) is None:
        yield f"{place(path, 1)}: the module has no docstring"
    for node in tree.body:
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and ast.get_docstring(node) is None
        ):
            yield f"{place(path, node.lineno)}: {node.name} has no docstring"


def fail_with(faults: Iterable[str]) -> None:
    found = list(faults)
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_imports_point_only_downward() -> None:
    fail_with(fault for path in sources() for fault in wrong_imports(path))


def test_modules_are_short() -> None:
    lengths = ((path, len(path.read_text().splitlines())) for path in sources())
    fail_with(
        f"{place(path, LINES_MAX + 1)}: {length} lines, more than {LINES_MAX}"
        for path, length in lengths
        if length > LINES_MAX
    )


def test_public_names_have_docstrings() -> None:
    fail_with(fault for path in sources() for fault in without_docstring(path))


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_the_library_needs_no_extra() -> None:
    """`import replicator` where only plyvel, trio, msgpack and zeroconf are installed."""
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in EXTRAS)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; {blocked}import replicator"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        ("core/a.py", "from replicator.store import store", "core must not import store"),
        ("core/a.py", "import time", "core is pure and must not import time"),
        ("core/a.py", "from os.path import join", "core is pure and must not import os.path"),
        ("core/a.py", "import msgpack", "core must not depend on msgpack"),
        ("core/a.py", "from replicator.chance import random", "core is pure and must not import"),
        ("peers/a.py", "from random import random", "take replicator.chance"),
        ("protocol/a.py", "import trio", "protocol must not depend on trio"),
        ("protocol/a.py", "def f():\n    import logging", "a.py:2: protocol is pure"),
        ("store/a.py", "import trio.lowlevel", "store must not depend on trio.lowlevel"),
        ("net/a.py", "from replicator.store.store import Store", "net must not import store"),
        ("net/a.py", "from replicator import node", "net must not import composition"),
        ("node.py", "from replicator.faces.handle import Replica", "must not import faces"),
        ("store/a.py", "from replicator import open_replica", "must not import composition"),
        ("errors.py", "from replicator import config", "errors must not import config"),
        ("core/a.py", "import replicator", "core must not import faces"),
        ("core/a.py", "x = 1", "a.py:1: the module has no docstring"),
        ("core/a.py", '"""Head."""\n\nclass A:\n    x = 1', "a.py:3: A has no docstring"),
        ("core/a.py", '"""Head."""\nasync def a(): ...', "a.py:2: a has no docstring"),
    ],
)
def test_a_fault_is_found_and_named(
    file: str, source: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    found = [*wrong_imports(path), *without_docstring(path)]
    assert any(fault in line for line in found), found
