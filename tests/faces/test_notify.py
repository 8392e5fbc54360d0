"""What the service manager hears."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicator.faces.notify import READY, Notifier
from tests.faces.servicemanager import Manager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify")
    made = Manager(address if request.param == "path" else f"@{address}")
    yield made
    made.socket.close()


def test_what_is_told_and_what_children_do_not_inherit(manager: Manager) -> None:
    environ = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "1500000",
        "WATCHDOG_PID": str(os.getpid()),
        "OTHER": "x",
    }
    notifier = Notifier.take(environ)
    assert environ == {"OTHER": "x"}
    assert notifier.watchdog_seconds == 1.5
    notifier.tell(READY, "STATUS=fine")
    notifier.reloading()
    first, second = manager.heard()
    assert first == "READY=1\nSTATUS=fine"
    assert second.startswith("RELOADING=1\nMONOTONIC_USEC=")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "relative"},
        {"NOTIFY_SOCKET": "vsock:2:1"},
        {"NOTIFY_SOCKET": "/missing", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/missing", "WATCHDOG_USEC": "x"},
        {"NOTIFY_SOCKET": "/missing", "WATCHDOG_USEC": "0"},
    ],
)
def test_nobody_there_is_no_fault(environ: dict[str, str]) -> None:
    notifier = Notifier.take(environ)
    assert notifier.watchdog_seconds is None
    notifier.tell(READY)


def test_a_manager_that_does_not_read_costs_nothing(manager: Manager) -> None:
    notifier = Notifier(manager.address, 1.0)
    for _ in range(10_000):
        notifier.tell(READY, patience=0)
    assert set(manager.heard()) == {READY}
