"""docs/RUNBOOK.md and docs/DEPLOY.md: a section for each alert, links that lead somewhere, commands
that there are, and files that are there."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from replicator.faces.cli.app import cli
from replicator.faces.cli.codes import Exit
from tests.deploy.tools import CONFIGS, DOCS, ROOT, document

RUNBOOK = (DOCS / "RUNBOOK.md").read_text()
PAGES = ("RUNBOOK.md", "DEPLOY.md")

(GROUP,) = document(CONFIGS / "prometheus" / "alerts.yml")["groups"]
ALERTS = [rule["alert"] for rule in GROUP["rules"]]

TASKS = (
    "Replace a node",
    "Restore",
    "Rolling upgrade",
    "Disk full",
    "Fork seen",
    "Conflicts pile up",
    "Clock skew",
)


def headings(text: str) -> list[str]:
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+ (.+)$", plain, re.MULTILINE)


def anchor(heading: str) -> str:
    """The name that a heading has in links, as the places that show Markdown make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def section(heading: str) -> str:
    return RUNBOOK.split(f"\n### {heading}\n", 1)[1].split("\n### ", 1)[0].split("\n## ", 1)[0]


def test_sections_are_the_alerts_and_the_tasks_in_their_order() -> None:
    assert re.findall(r"^### (.+)$", RUNBOOK, re.MULTILINE) == [*ALERTS, *TASKS]


@pytest.mark.parametrize("alert", ALERTS)
def test_a_section_says_what_it_means_how_to_look_and_what_to_do(alert: str) -> None:
    told = re.findall(r"^\*\*(\w+)\.\*\* \S", section(alert), re.MULTILINE)
    assert told == ["Means", "Look", "Do"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", (DOCS / page).read_text())
    assert links
    for file, place in links:
        target = DOCS / (file or page)
        assert target.exists(), file
        if place:
            assert place in map(anchor, headings(target.read_text())), (file, place)


BLOCK = re.compile(r"^ *```.*?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)

OURS = re.compile(
    r"(?:[$#] )?"
    r"(?:kubectl exec \S+ -- |docker (?:compose )?exec \S+ |sudo -u \S+ )?"
    r"(?:\S*/)?replicator +([a-z].*)"
)
"""A command line of ours, also one that is run in a container or as another user."""


def commands(text: str) -> Iterator[list[str]]:
    """Every command line of ours in a text, split; in code spans and blocks."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", BLOCK.sub("", text))
    for code in (*BLOCK.findall(text), *spans):
        for line in code.replace("\\\n", " ").splitlines():
            for part in re.split(r"\||&&|;|\bdo\b", line.partition(" # ")[0]):
                if found := OURS.fullmatch(part.strip()):
                    yield shlex.split(found[1])


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_there_with_their_options(page: str) -> None:
    count = 0
    for name, *arguments in commands((DOCS / page).read_text()):
        command: click.Command = cli.commands[name]
        if isinstance(command, click.Group) and arguments:
            command = command.commands[arguments.pop(0)]
        known = {option for one in command.params for option in one.opts}
        used = {one for one in arguments if one.startswith("--")}
        assert used <= known, (name, arguments)
        count += 1
    assert count >= 10


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page: str) -> None:
    for name in re.findall(r"\b(configs/[\w./@-]*\w)", (DOCS / page).read_text()):
        assert (ROOT / name).exists(), name


def test_everything_in_configs_is_told_of() -> None:
    text = (DOCS / "DEPLOY.md").read_text()
    for path in sorted(CONFIGS.rglob("*")):
        if path.is_file() and path.parent != CONFIGS and "secrets" not in path.parts:
            directory = path.parent.relative_to(ROOT)
            assert path.name in text or f"-k {directory}" in text or f"{directory}/" in text, path


def test_exit_codes_in_the_runbook_are_those_of_the_command_line() -> None:
    told = dict(re.findall(r"(\d), (the configuration|LevelDB)", section("ReplicatorDown")))
    assert told == {str(Exit.USAGE.value): "the configuration", str(Exit.STORAGE.value): "LevelDB"}
