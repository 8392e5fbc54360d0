"""What a reload takes, what waits, and that it takes all or nothing."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicator.faces.configuration import Given
from replicator.faces.configuration.sections import KEYS
from replicator.faces.doors import Doors
from replicator.faces.reloading import RELOADED, Reloading
from tests.faces.servercerts import Site as Certificates


class FakeReplica:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def add_peer(self, address: str) -> None:
        self.told.append(f"+{address}")

    def remove_peer(self, address: str) -> None:
        self.told.append(f"-{address}")


class Site:
    """A daemon's parts around a file."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        file.write_text(text)
        given = Given(file)
        config = given.read()
        self.replica = FakeReplica()
        self.doors = Doors(config)
        self.reloading = Reloading(given, config, self.replica, self.doors)  # type: ignore[arg-type]

    async def reload(self, text: str) -> list[str]:
        """What the replica was told."""
        self.file.write_text(text)
        self.replica.told.clear()
        await self.reloading.reload()
        return sorted(self.replica.told)


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """Leave the log's level as it was."""
    ours = logging.getLogger("replicator")
    before = ours.level
    yield
    ours.setLevel(before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("hush")
    path.chmod(0o600)
    return tmp_path / "node.toml"


def peers(*addresses: str) -> str:
    return f"[peers]\nstatic = {list(addresses)}\n"


async def test_only_the_difference_of_peers_is_told(file: Path) -> None:
    site = Site(file, peers("a:1", "b:1"))
    assert await site.reload(peers("a:1", "b:1")) == []
    assert await site.reload(peers("b:1", "[::1]:1")) == ["+[::1]:1", "-a:1"]
    assert await site.reload(peers("b:1", "[::1]:1")) == []
    assert await site.reload("") == ["-[::1]:1", "-b:1"]


async def test_nothing_is_taken_where_anything_is_wrong(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(file, "")
    access = site.doors.keys.access
    for wrong in (
        "[node]\nnmae = 1\n",
        '[access]\nadmin_password_file = "missing"\n',
        '[http]\ncertificate = "missing"\nkey = "missing"\n',
    ):
        caplog.clear()
        assert await site.reload(peers("a:1") + wrong) == []
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert "\n" not in record.getMessage()
    assert site.doors.keys.access is access
    assert await site.reload(peers("a:1")) == ["+a:1"]


async def test_passwords_are_taken(file: Path) -> None:
    site = Site(file, "")
    await site.reload('[access]\nadmin_password_file = "password"\n')
    assert site.doors.keys.access.default_role is None
    (file.parent / "password").write_text("new")
    await site.reload(file.read_text())
    assert site.doors.keys.access.login(None, b"new") is not None
    assert site.doors.keys.access.login(None, b"hush") is None


async def test_what_waits_is_named_every_time(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    site = Site(file, "[replication]\nfanout = 8\n")
    text = '[replication]\nfanout = 7\nlinger = 1\n[http]\nlisten = "1"\n[log]\nlevel = "debug"\n'
    for _ in range(2):
        caplog.clear()
        await site.reload(text)
        (warning,) = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert warning.getMessage().endswith(
            "before a restart: replication.linger, replication.fanout, http.listen"
        )
    caplog.clear()
    await site.reload("")
    assert [one for one in caplog.records if one.levelno == logging.WARNING] == []


async def test_that_there_is_tls_at_all_waits(file: Path, caplog: pytest.LogCaptureFixture) -> None:

    Certificates(file.parent).issue("a.example")
    site = Site(file, '[resp]\nlisten = "0"\n')
    await site.reload('[resp]\nlisten = "0"\ncertificate = "it.crt"\nkey = "it.key"\n')
    assert "before a restart: resp.certificate" in caplog.text
    assert site.doors.keys.resp is None
    site.doors.close()


def test_keys_that_are_reloaded_are_keys() -> None:

    assert set(KEYS) >= RELOADED
