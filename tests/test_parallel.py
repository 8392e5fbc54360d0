"""Tests run in several processes at once (scripts/test): what they tell is in one order."""

import subprocess
import sys
from pathlib import Path

FAILING = """
import time
import pytest

@pytest.mark.parametrize("number", range(6))
def test_fails(number):
    time.sleep(0.05 * (5 - number))
    assert number < 0
"""


def test_what_failed_is_told_in_one_order(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    (tmp_path / "test_it.py").write_text(FAILING)
    (tmp_path / "conftest.py").write_text((root / "tests" / "conftest.py").read_text())
    pytest = [sys.executable, "-m", "pytest", "-c", str(root / "pyproject.toml")]
    done = subprocess.run(
        [*pytest, "-n", "3", "--dist", "worksteal", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    failed = [line.partition("test_fails[")[2][0] for line in lines if line.startswith("FAILED")]
    assert failed == list("012345"), done.stdout
    assert lines[-1].strip("= ").startswith("6 failed in "), "what scripts read"
