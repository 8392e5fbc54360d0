"""A peers file: replaced, written in place, nonsense, gone."""

import os
from pathlib import Path

import pytest

from replicator.config import DISCOVERED_ADDRESSES_MAX, PEERS_FILE_BYTES_MAX
from replicator.errors import ConfigError
from replicator.net.discovery.peersfile import PeersFile
from tests.discovery.told import running

LOOK_SECONDS = 0.02


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "peers.txt"


def provider(path: Path) -> PeersFile:
    return PeersFile(str(path), interval=LOOK_SECONDS)


def replace(path: Path, text: str) -> None:
    """As a careful tool does it."""
    aside = path.with_name("aside")
    aside.write_text(text)
    aside.rename(path)


def make_old(path: Path) -> None:
    os.utime(path, (1_000_000_000, 1_000_000_000))


async def test_one_address_a_line_with_comments(path: Path) -> None:
    path.write_text(
        "\ufeff# ours\r\n10.0.0.1:9000\n\n  db.example:9001  # the old one\n[fd00::1]:9000"
    )
    async with running(provider(path)) as told:
        await told.until_found("10.0.0.1:9000", "db.example:9001", "[fd00::1]:9000")
        await told.until_fine()


async def test_a_line_twice_counts_once(path: Path) -> None:
    path.write_text("10.0.0.1:9000\n10.0.0.1:9000\n")
    async with running(provider(path)) as told:
        await told.until_found("10.0.0.1:9000")


async def test_a_replaced_file_replaces_the_list(path: Path) -> None:
    path.write_text("10.0.0.1:9000\n10.0.0.2:9000\n")
    async with running(provider(path)) as told:
        await told.until_found("10.0.0.1:9000", "10.0.0.2:9000")
        replace(path, "10.0.0.2:9000\n10.0.0.3:9000\n")
        await told.until_found("10.0.0.2:9000", "10.0.0.3:9000")
        replace(path, "")
        await told.until_found()
        assert told.troubles == []


async def test_a_config_map_is_swapped_by_a_symbolic_link(path: Path) -> None:
    for version, address in (("one", "10.0.0.1:9000"), ("two", "10.0.0.2:9000")):
        path.with_name(version).mkdir()
        (path.with_name(version) / "peers.txt").write_text(address + "\n")
    data = path.with_name("data")
    data.symlink_to("one")
    path.symlink_to("data/peers.txt")
    async with running(provider(path)) as told:
        await told.until_found("10.0.0.1:9000")
        aside = path.with_name("aside")
        aside.symlink_to("two")
        aside.rename(data)
        await told.until_found("10.0.0.2:9000")


async def test_what_is_new_counts_at_once_and_what_is_gone_only_when_the_file_is_at_rest(
    path: Path,
) -> None:
    path.write_text("10.0.0.1:9000\n10.0.0.2:9000\n")
    async with running(provider(path)) as told:
        await told.until_found("10.0.0.1:9000", "10.0.0.2:9000")
        path.write_text("10.0.0.3:9000\n")
        await told.until_found("10.0.0.3:9000")
        assert told.found_lists[-2:] == [
            {"10.0.0.1:9000", "10.0.0.2:9000", "10.0.0.3:9000"},
            {"10.0.0.3:9000"},
        ]


async def test_half_an_address_is_not_taken_while_the_file_is_written(path: Path) -> None:
    path.write_text("10.0.0.1:9000\n10.0.0.2:90")
    slow = PeersFile(str(path), interval=0.5)
    async with running(slow) as told:
        await told.until_found("10.0.0.1:9000")
        with path.open("a") as file:
            file.write("00\n10.0.0.3:9000\nnons")
        await told.until(lambda: "10.0.0.3:9000" in (told.addresses or ()))
        with path.open("a") as file:
            file.write("ense.example:9000\n")
        await told.until(lambda: "nonsense.example:9000" in (told.addresses or ()))
        assert not any("10.0.0.2:90" in found for found in told.found_lists)
        assert told.troubles == []


async def test_a_last_line_without_its_end_counts_in_a_file_at_rest(path: Path) -> None:
    path.write_text("10.0.0.1:9000\n10.0.0.2:9000")
    make_old(path)
    async with running(provider(path)) as told:
        await told.until_found("10.0.0.1:9000", "10.0.0.2:9000")
        assert told.found_lists[0] == {"10.0.0.1:9000", "10.0.0.2:9000"}


async def test_nonsense_is_told_with_its_lines_and_the_rest_counts(path: Path) -> None:
    path.write_text("10.0.0.1:9000\n10.0.0.2\n\x00\x1b[2J rubbish\nhttp://x:1/\n10.0.0.3:9000\n")
    async with running(provider(path)) as told:
        await told.until_found("10.0.0.1:9000", "10.0.0.3:9000")
        text = await told.until_trouble("peers.txt:2", "the port is missing", "peers.txt:3")
        assert "1 more" in text
        replace(path, "10.0.0.1:9000\n")
        await told.until_fine()
        assert told.troubles == [text]


async def test_bytes_that_are_no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00\n10.0.0.1:9000\n" + b"x" * 100_000 + b"\n")
    async with running(provider(path)) as told:
        await told.until_found("10.0.0.1:9000")
        assert len(await told.until_trouble("peers.txt:1", "peers.txt:3")) < 400


async def test_a_file_that_goes_away_leaves_the_last_list(path: Path) -> None:
    path.write_text("10.0.0.1:9000\n")
    async with running(provider(path)) as told:
        await told.until_found("10.0.0.1:9000")
        path.rename(path.with_name("away"))
        await told.until_trouble(str(path), "one address a line")
        assert told.addresses == {"10.0.0.1:9000"}
        path.with_name("away").rename(path)
        await told.until_fine()
        assert told.found_lists[-1] == {"10.0.0.1:9000"}


async def test_a_file_that_is_not_there_yet(path: Path) -> None:
    async with running(provider(path)) as told:
        await told.until_trouble(str(path))
        assert told.addresses is None
        path.write_text("10.0.0.1:9000\n")
        await told.until_found("10.0.0.1:9000")
        await told.until_fine()


async def test_what_is_no_file(path: Path) -> None:
    os.mkfifo(path)
    async with running(provider(path)) as told:
        await told.until_trouble("is no file")
        path.unlink()
        path.mkdir()
        await told.until_trouble("is no file")


async def test_a_file_that_is_too_large(path: Path) -> None:
    path.write_text("10.0.0.1:9000\n" + "#" * PEERS_FILE_BYTES_MAX)
    async with running(provider(path)) as told:
        await told.until_trouble("is larger than")
        assert told.addresses is None


async def test_too_many_addresses(path: Path) -> None:
    count = DISCOVERED_ADDRESSES_MAX + 1
    path.write_text("".join(f"h{number}:9000\n" for number in range(count)))
    async with running(provider(path)) as told:
        await told.until_trouble("more than")
        assert told.addresses is not None
        assert len(told.addresses) == DISCOVERED_ADDRESSES_MAX


@pytest.mark.parametrize("path", ["", "a\0b", 7])
def test_a_path_that_is_none(path: str) -> None:
    with pytest.raises(ConfigError, match="give its path"):
        PeersFile(path)


@pytest.mark.parametrize("interval", [0, -1, float("nan"), "1", True, 1e9])
def test_an_interval_that_is_none(interval: float) -> None:
    with pytest.raises(ConfigError, match="give seconds"):
        PeersFile("peers.txt", interval=interval)


def test_its_name() -> None:
    assert PeersFile("peers.txt").name == "file peers.txt"
