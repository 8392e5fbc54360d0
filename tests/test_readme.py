"""The README's code runs as printed, and what it names exists."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SECONDS_MAX = 30.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.processes
@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[3][:30])
def test_python_runs_as_printed(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.processes
def test_the_sidecar_commands_answer_as_printed(tmp_path: Path) -> None:
    (shell,) = (block for block in blocks("console") if "redis-cli" in block)
    daemons: list[subprocess.Popen[str]] = []
    try:
        for command, expected in commands(shell):
            if command.endswith("&"):
                daemons.append(start_daemon(command.removesuffix("&"), tmp_path))
            else:
                wait_for_output(command, expected, tmp_path)
    finally:
        for daemon in daemons:
            daemon.send_signal(signal.SIGTERM)
        for daemon in daemons:
            daemon.communicate(timeout=SECONDS_MAX)
        codes = [daemon.returncode for daemon in daemons]
    assert codes == [0] * len(codes)


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output printed under it."""
    result: list[tuple[str, str]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            result.append((line[2:].partition("  #")[0].strip(), ""))
        else:
            command, output = result.pop()
            result.append((command, f"{output}{line}\n"))
    return result


def start_daemon(command: str, directory: Path) -> subprocess.Popen[str]:
    daemon = subprocess.Popen(
        f"exec {command}",
        shell=True,
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert daemon.stdout is not None
    assert daemon.stdout.readline().startswith("ready: ")
    return daemon


def wait_for_output(command: str, expected: str, directory: Path) -> None:
    """Run a command until it prints what is expected: replication takes its moment."""
    limit = time.monotonic() + SECONDS_MAX
    while True:
        done = subprocess.run(
            command, shell=True, cwd=directory, env=environment(), capture_output=True, text=True
        )
        # redis-cli quotes on a terminal only.
        if done.returncode == 0 and (not expected or done.stdout == expected.replace('"', "")):
            return
        assert time.monotonic() < limit, (command, done.stdout, done.stderr)
        time.sleep(0.1)


def environment() -> dict[str, str]:
    """As in a shell in which the project's virtual environment is active."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_file_named_in_commands_exists() -> None:
    for block in blocks("console"):
        for path in re.findall(r"\b(?:scripts|configs)/[\w.-]+", block):
            assert (ROOT / path).exists(), path
