"""Peers that a program prints: covers any cloud or registry without its client library."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

from replicator.config import COMMAND_OUTPUT_BYTES_MAX, COMMAND_TIMEOUT, DISCOVERY_INTERVAL
from replicator.errors import ConfigError
from replicator.net.discovery.lines import excerpt, parse_lines, summary
from replicator.net.discovery.pace import Finding, LookError, checked_interval, keep_looking
from replicator.net.discovery.provider import Advert, Outlook

ERROR_BYTES = 4096
"""What is kept of a program's complaints."""

ERROR_CHARACTERS_MAX = 200
"""What is shown of their first line."""

REAPING_SECONDS = 1.0
"""How long a killed program may take to end."""


@dataclass(frozen=True, slots=True)
class Command:
    """Runs a program now and then, without a shell; it prints one address a line, ``#`` begins a
    comment, and ends with status 0. Otherwise the last list stays.

    Args:
        argv: the program and its arguments.
        interval: seconds from one end to the next start.
        timeout: seconds for one run; afterwards it is killed with all that it started.

    Raises:
        ConfigError: an argument is none.
    """

    argv: tuple[str, ...]
    interval: float = DISCOVERY_INTERVAL
    timeout: float = COMMAND_TIMEOUT

    def __post_init__(self) -> None:
        argv: object = self.argv
        is_fine = isinstance(argv, tuple) and all(
            isinstance(one, str) and "\0" not in one for one in argv
        )
        if not is_fine or not argv or not self.argv[0]:
            raise ConfigError(
                f"the command is {argv!r}: list the program and its arguments, such as "
                "['consul-peers', '--tag', 'db']; where a shell is wanted: ['sh', '-c', '…']"
            )
        checked_interval("the interval of the command", self.interval)
        checked_interval("the timeout of the command", self.timeout)

    @property
    def name(self) -> str:
        return f"command {self.argv[0]}"

    async def run(self, outlook: Outlook, advert: Advert | None) -> None:
        """See `Provider`."""
        await keep_looking(outlook, self._look, self.interval)

    async def _look(self) -> Finding:
        output = await _output_of(self.argv, self.timeout)
        addresses, faults = parse_lines(output.decode(errors="replace"), "output")
        return Finding(addresses, summary(faults))


async def _output_of(argv: Sequence[str], timeout: float) -> bytes:
    """What a program prints.

    Raises:
        LookError: it cannot be started, fails, prints too much, or takes too long.
    """
    try:
        process = await trio.lowlevel.open_process(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise LookError(
            f"cannot run {argv[0]!r}: {error.strerror}; give the path of a program that this user "
            "may run"
        ) from error
    assert process.stdout is not None
    assert process.stderr is not None
    output, complaints = bytearray(), bytearray()
    status: int | None = None
    async with process.stdout, process.stderr:
        try:
            with trio.move_on_after(timeout) as limit:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_drain, process.stderr, complaints)
                    if not await _read(process.stdout, output):
                        nursery.cancel_scope.cancel()
                if len(output) <= COMMAND_OUTPUT_BYTES_MAX:
                    status = await process.wait()
        finally:
            if status is None:
                await _kill(process)
    if limit.cancelled_caught:
        raise LookError(f"does not end within {timeout:g} s: make it faster, or allow more timeout")
    if len(output) > COMMAND_OUTPUT_BYTES_MAX:
        raise LookError(
            f"prints more than {COMMAND_OUTPUT_BYTES_MAX} bytes: it is to print one address a line"
        )
    if status:
        raise LookError(_failure(status, complaints))
    return bytes(output)


async def _read(stream: trio.abc.ReceiveStream, output: bytearray) -> bool:
    """Gather what comes; False when it is too much."""
    async for data in stream:
        output += data
        if len(output) > COMMAND_OUTPUT_BYTES_MAX:
            return False
    return True


async def _drain(stream: trio.abc.ReceiveStream, beginning: bytearray) -> None:
    """Let all come, and keep the beginning."""
    async for data in stream:
        beginning += data[: ERROR_BYTES - len(beginning)]


async def _kill(process: trio.Process) -> None:
    """Kill a program with all that it started. Nobody has asked yet how it ended, so its id is
    still its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with trio.move_on_after(REAPING_SECONDS, shield=True):
        await process.wait()


def _failure(status: int, complaints: bytearray) -> str:
    ending = f"ends with status {status}" if status > 0 else f"was killed by signal {-status}"
    first = complaints.decode(errors="replace").strip().partition("\n")[0]
    why = excerpt(first, ERROR_CHARACTERS_MAX) or "it does not say why"
    return f"{ending}: {why}; run it by hand to see more"
