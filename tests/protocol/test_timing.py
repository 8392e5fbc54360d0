"""Moments at which a conversation has to do something."""

from math import inf

from replicator.config import Settings
from replicator.protocol.timing import SILENCES_MAX, Timing

SETTINGS = Settings(linger=5, keepalive=10, connect_timeout=3, reask_timeout=20)


def test_a_greeting_has_a_time_limit() -> None:
    timing = Timing(SETTINGS, dialled=True, now=100)
    assert timing.limit_at == 103
    timing.limit(200)
    assert timing.limit_at == 203


def test_a_silent_peer() -> None:
    timing = Timing(SETTINGS, dialled=True, now=100)
    assert timing.silent_at(reading=True) == 100 + SILENCES_MAX * 10
    assert timing.silent_at(reading=False) == inf
    timing.heard(105)
    timing.sent(120)
    assert timing.silent_at(reading=True) == 135


def test_a_silent_self() -> None:
    timing = Timing(SETTINGS, dialled=True, now=100)
    timing.sent(105, active=False)
    timing.heard(120)
    assert timing.ping_at == 115


def test_signs_of_life_are_no_activity() -> None:
    timing = Timing(SETTINGS, dialled=True, now=100)
    timing.heard(101, active=False)
    timing.sent(102, active=False)
    assert timing.quiet_at(lacking=False) == 105
    timing.heard(103)
    assert timing.quiet_at(lacking=False) == 108
    timing.sent(104)
    assert timing.quiet_at(lacking=False) == 109


def test_who_lacks_something_waits_longer_and_so_does_who_was_dialled() -> None:
    assert Timing(SETTINGS, dialled=True, now=0).quiet_at(lacking=True) == 25
    assert Timing(SETTINGS, dialled=False, now=0).quiet_at(lacking=False) == 25
    assert Timing(SETTINGS, dialled=False, now=0).quiet_at(lacking=True) == 45
