"""Peers that a program prints: programs that fail, hang, babble or are not there."""

import os
import sys
from pathlib import Path

import pytest
import trio

from replicator.config import COMMAND_OUTPUT_BYTES_MAX
from replicator.errors import ConfigError
from replicator.net.discovery.command import Command
from tests.discovery.told import PATIENCE_SECONDS, Told, running

INTERVAL_SECONDS = 0.05


def shell(script: str, *, timeout: float = PATIENCE_SECONDS) -> Command:
    return Command(("sh", "-c", script), interval=INTERVAL_SECONDS, timeout=timeout)


async def test_each_line_is_an_address() -> None:
    async with running(shell("echo 10.0.0.1:9000; printf '# db\\n[fd00::1]:9001'")) as told:
        await told.until_found("10.0.0.1:9000", "[fd00::1]:9001")
        await told.until_fine()


async def test_it_is_run_again_and_again(tmp_path: Path) -> None:
    peers = tmp_path / "peers"
    peers.write_text("10.0.0.1:9000\n")
    async with running(shell(f"cat {peers}")) as told:
        await told.until_found("10.0.0.1:9000")
        peers.write_text("10.0.0.2:9000\n")
        await told.until_found("10.0.0.2:9000")
        peers.write_text("")
        await told.until_found()


async def test_a_failure_is_told_and_the_last_list_stays(tmp_path: Path) -> None:
    peers = tmp_path / "peers"
    peers.write_text("10.0.0.1:9000\n")
    async with running(shell(f"cat {peers} || {{ echo 'no registry' >&2; exit 3; }}")) as told:
        await told.until_found("10.0.0.1:9000")
        peers.unlink()
        await told.until_trouble("ends with status 3", "No such file")
        assert told.addresses == {"10.0.0.1:9000"}
        peers.write_text("10.0.0.2:9000\n")
        await told.until_found("10.0.0.2:9000")
        await told.until_fine()


async def test_what_it_printed_before_it_failed_does_not_count() -> None:
    async with running(shell("echo 10.0.0.1:9000; kill -9 $$")) as told:
        await told.until_trouble("killed by signal 9", "does not say why")
        assert told.addresses is None


async def test_lines_that_are_no_address() -> None:
    async with running(shell("echo 10.0.0.1:9000; echo Warning: slow")) as told:
        await told.until_found("10.0.0.1:9000")
        await told.until_trouble("output:2", "no address")


async def test_a_program_that_is_not_there() -> None:
    command = Command(("/nonexistent/peers",), interval=INTERVAL_SECONDS)
    async with running(command) as told:
        await told.until_trouble("cannot run '/nonexistent/peers'", "No such file")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


async def pid_in(path: Path) -> int:
    with trio.fail_after(PATIENCE_SECONDS):
        while not path.exists() or not path.read_text().endswith("\n"):
            await trio.sleep(0.01)
    return int(path.read_text())


async def until_gone(pid: int) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while is_running(pid):
            await trio.sleep(0.01)


async def test_one_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 1000 & test -e {child} || echo $! > {child}; wait"
    async with running(shell(script, timeout=0.5)) as told:
        await told.until_trouble("does not end within 0.5 s")
        await until_gone(await pid_in(child))


async def test_one_that_leaves_a_child_with_its_output_is_killed(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 1000 & test -e {child} || echo $! > {child}; echo 10.0.0.1:9000"
    async with running(shell(script, timeout=0.5)) as told:
        await told.until_trouble("does not end within 0.5 s")
        await until_gone(await pid_in(child))
        assert told.addresses is None


async def test_cancelling_kills_it(tmp_path: Path) -> None:
    child = tmp_path / "child"
    async with running(shell(f"sleep 1000 & echo $! > {child}; wait")):
        pid = await pid_in(child)
    await until_gone(pid)


async def test_one_that_prints_without_end() -> None:
    babbling = Command(
        (sys.executable, "-c", "while True: print('10.0.0.1:9000')"), interval=INTERVAL_SECONDS
    )
    async with running(babbling) as told:
        await told.until_trouble(f"more than {COMMAND_OUTPUT_BYTES_MAX} bytes")
        assert told.addresses is None


async def test_one_that_complains_without_end_is_read_on() -> None:
    script = "import sys; sys.stderr.write('x\\n' * 1_000_000); sys.exit(1)"
    noisy = Command((sys.executable, "-c", script), interval=INTERVAL_SECONDS)
    async with running(noisy) as told:
        await told.until_trouble("ends with status 1: x;")


async def test_it_does_not_read_this_terminal() -> None:
    async with running(shell("cat; echo 10.0.0.1:9000")) as told:
        await told.until_found("10.0.0.1:9000")


async def test_a_run_begins_anew() -> None:
    command = shell("echo 10.0.0.1:9000")
    for _ in range(2):
        told: Told
        async with running(command) as told:
            await told.until_found("10.0.0.1:9000")


@pytest.mark.parametrize("argv", ["peers", (), ("",), ("a", 7), ("a\0b",), ["peers"]])
def test_a_command_that_is_none(argv: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="list the program and its arguments"):
        Command(argv)


def test_limits_that_are_none() -> None:
    with pytest.raises(ConfigError, match="interval"):
        Command(("peers",), interval=0)
    with pytest.raises(ConfigError, match="timeout"):
        Command(("peers",), timeout=-1)
