"""What all tests share: how hypothesis runs, and that nodes find only whom a test names."""

import pytest
from hypothesis import settings

settings.register_profile("replicator", deadline=None, print_blob=True)
settings.load_profile("replicator")


@pytest.fixture(autouse=True)
def no_discovery_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of the tests on one machine must not find each other's nodes. What the default is,
    and that it works, is shown by `tests/faces/test_discovery.py`."""
    monkeypatch.setattr("replicator.faces.library.DISCOVERY_DEFAULT", ())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What failed is told in one order, whichever process came to it first."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        for reports in reporter.stats.values():
            reports.sort(key=lambda report: getattr(report, "nodeid", None) or "")
