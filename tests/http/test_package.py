"""What is installed holds the page."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
STATIC = ROOT / "replicator" / "faces" / "http" / "static"


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        for file in STATIC.iterdir():
            assert opened.read(f"replicator/faces/http/static/{file.name}") == file.read_bytes()


def test_all_that_the_page_asks_for_is_there() -> None:
    page = (STATIC / "index.html").read_text()
    asked = set(re.findall(r'"static/([\w.]+)"', page))
    for script in STATIC.glob("*.js"):
        asked |= set(re.findall(r'from "\./([\w.]+)"', script.read_text()))
    assert asked | {"index.html"} == {file.name for file in STATIC.iterdir()}


def test_nothing_in_it_needs_what_the_policy_forbids() -> None:
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:|https?://", page)
    for script in STATIC.glob("*.js"):
        found = re.search(
            r"innerHTML|outerHTML = |insertAdjacentHTML|document\.write|eval\(|new Function|"
            r"DOMParser|setHTML|srcdoc|localStorage|document\.cookie",
            script.read_text(),
        )
        assert found is None, (script.name, found)
    assert not re.search(r"url\(|@import", (STATIC / "page.css").read_text())
