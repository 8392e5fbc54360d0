"""docs/CONFIG.md tells the truth: every key with its type, default, unit, variable and option."""

import json
import re
from pathlib import Path

import click

from replicator.core.resolvers import READY_MADE
from replicator.faces.cli.serve import serve
from replicator.faces.configuration.environment import DATA_SHORT, SECRET_VARIABLES
from replicator.faces.configuration.sections import KEYS, SECTIONS, Key
from replicator.faces.ending import HARD_EXIT_CODE
from replicator.faces.heart import BEATS
from replicator.faces.limits import CLOSE_SECONDS_MAX, SECRET_BYTES_MAX
from replicator.faces.reloading import RELOADED

DOCS = (Path(__file__).parents[3] / "docs" / "CONFIG.md").read_text()


def documented() -> dict[str, list[str]]:
    """The cells of every key's row, its own first."""
    rows = {}
    for section in SECTIONS:
        (_, text) = DOCS.split(f"\n### [{section}]\n", 1)
        for line in text.split("\n### ", 1)[0].splitlines():
            if line.startswith("| `"):
                cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
                rows[f"{section}.{cells[0].strip('`')}"] = cells
    return rows


def expected(key: Key) -> tuple[str, str, str, str]:
    unit = key.unit or "–"
    flag = f"`{key.flag}`" if key.flag else "–"
    return key.type, unit, f"`{key.variable}`", flag


def test_every_key() -> None:
    rows = documented()
    assert list(rows) == list(KEYS)
    for name, key in KEYS.items():
        _, kind, default, unit, variable, flag, meaning = rows[name]
        assert (kind, unit, variable, flag) == expected(key), name
        assert meaning
        if key.default is None:
            assert not default.startswith("`"), name
        else:
            assert default == f"`{json.dumps(key.default)}`", name


def test_every_option_named_there_is_one_of_serve() -> None:
    options = {
        option
        for parameter in serve.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert {key.flag for key in KEYS.values() if key.flag} | {"--config", "--json"} == options


def test_secrets() -> None:
    for variable, name in SECRET_VARIABLES.items():
        assert f"| `{variable}` | `{name}_file` |" in DOCS
    assert f"at most {SECRET_BYTES_MAX:,} bytes" in DOCS
    assert f"`{DATA_SHORT}` is short for `{KEYS['node.data'].variable}`" in DOCS


def test_resolvers() -> None:
    for name in READY_MADE:
        assert name in DOCS


def test_what_is_reloaded() -> None:
    (text,) = re.findall(r"\n## Reloading\n(.*?)\n## ", DOCS, re.DOTALL)
    for key in map(KEYS.get, RELOADED):
        assert key is not None
        if key.section in ("peers", "log"):
            assert f"`[{key.section}] {key.name}`" in text
        else:
            assert key.section in ("resp", "http", "access")
    words = " ".join(DOCS.split())
    assert f"at most {CLOSE_SECONDS_MAX:g} s" in words
    assert f"with exit code {HARD_EXIT_CODE}" in words
    assert BEATS == 3, "told in words"
