"""The border is complete: whatever it defines is an effect or an event, and cannot be changed."""

from dataclasses import FrozenInstanceError, is_dataclass
from typing import get_args

import pytest

from replicator.protocol import comparison, effects, report
from replicator.protocol.messages import BYE_CODES


def test_everything_is_an_effect_or_an_event_and_nothing_is_both() -> None:
    defined = {
        value
        for module in (effects, comparison, report)
        for value in vars(module).values()
        if is_dataclass(value) and getattr(value, "__module__", None) == module.__name__
    }
    out, back = set(get_args(effects.Effect)), set(get_args(effects.Event))
    assert defined == out | back
    assert not out & back


def test_nobody_changes_what_is_under_way() -> None:
    with pytest.raises(FrozenInstanceError):
        effects.Show(1).seq = 2  # type: ignore[misc]


def test_every_code_of_a_bye_is_one_of_a_close() -> None:
    assert set(BYE_CODES) < set(get_args(effects.CloseCode))
