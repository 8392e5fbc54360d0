"""The tables hang together, and the documentation shows them as they are."""

from pathlib import Path
from typing import get_args

import pytest

from replicator.errors import ProtocolError, UsageError
from replicator.protocol import effects
from replicator.protocol.messages import Message
from replicator.protocol.states import LINK, PULL, SERVE, Machine, Table, diagram

TABLES = {"link": LINK, "pull": PULL, "serve": SERVE}
DOCUMENT = Path(__file__).parents[2] / "docs" / "PROTOCOL.md"


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_state_can_be_reached_and_left(table: Table) -> None:
    reached = {next(iter(table))}
    for _ in table:
        reached |= {after for state in reached for after in table[state].values()}
    assert reached == set(table)
    assert [state for state in table if not table[state]] in ([], ["closed"])


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_capital_triggers_are_messages_or_events(table: Table) -> None:
    names = {kind.__name__ for kind in get_args(Message) + get_args(effects.Event)}
    triggers = {trigger for triggers in table.values() for trigger in triggers}
    assert {trigger.split()[0] for trigger in triggers if trigger[0].isupper()} <= names


def test_every_message_has_its_place() -> None:
    link = {trigger for triggers in LINK.values() for trigger in triggers}
    assert {kind.__name__ for kind in get_args(Message)} <= link
    assert set(LINK["leaving"]) == set(LINK["open"]) - {"leave"}, "late messages are no crime"


@pytest.mark.parametrize("state", [state for state in LINK if LINK[state]])
def test_every_link_can_end(state: str) -> None:
    assert LINK[state].get("end") == "ending" or state == "ending"


def test_a_machine_goes_by_its_table() -> None:
    machine = Machine(SERVE)
    for trigger, state in [
        ("Want", "opening"),
        ("SourceOpened", "walking"),
        ("ChunkRead", "walking"),
        ("ChunkRead last", "idle"),
    ]:
        machine.step(trigger)
        assert machine.state == state


def test_a_message_out_of_place_is_the_peers_mistake_and_all_else_is_ours() -> None:
    machine = Machine(PULL)
    with pytest.raises(ProtocolError, match="Records has no place in state 'idle'"):
        machine.step("Records")
    with pytest.raises(ProtocolError, match="Begin full"):
        machine.step("Begin full")
    with pytest.raises(UsageError, match="Applied"):
        machine.step("Applied")
    assert machine.state == "idle"


def test_a_diagram() -> None:
    table = {"a": {"x": "b", "y": "b", "z": "a"}, "b": {}}
    assert diagram(table).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> a",
        "    a --> b: x, y",
        "    a --> a: z",
        "    b --> [*]",
    ]


@pytest.mark.parametrize("name", TABLES)
def test_the_documentation_shows_the_tables(name: str) -> None:
    block = f"```mermaid\n{diagram(TABLES[name])}\n```"
    assert block in DOCUMENT.read_text(), (
        f"the diagram of {name} in {DOCUMENT.name} is now:\n{block}"
    )
