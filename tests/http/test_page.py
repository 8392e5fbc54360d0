"""The page in a real browser, on real daemons; what it looks like is kept in `pictures`."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.daemons import Daemon, replicator, serving, until

from . import chromium
from .chromium import Chromium, Page
from .serving import TOKEN
from .test_daemon import port_of

PICTURES = Path(__file__).parent / "pictures"

pytestmark = pytest.mark.processes

KEYS = (
    "user:1042",
    "<img src=x onerror=window.pwned=1>",
    "</script><script>window.pwned=1</script>",
    r"red\x1b[31m\x1b]0;pwned\x07",
    r"right-to-left\xe2\x80\xaegnp.exe",
    r"binary\xff\x00\xfe",
    "javascript:window.pwned=1",
    "x" * 300,
)
NAME = "<b onmouseover=window.pwned=1>berlin"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if chromium.COMMAND is None:
        why = "needs chromium, which scripts/test installs where it can (Debian, as root)"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with chromium.chromium(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_tab_is_left(browser: Chromium) -> Iterator[None]:
    yield
    for page in list(browser.pages.values()):
        page.close()


class Pair:
    """Two daemons that had written the same keys when they met. The first one has the page."""

    def __init__(self, first: Daemon, second: Daemon) -> None:
        self.first = first
        self.second = second
        self.url = f"http://127.0.0.1:{port_of(first)}/"

    def versions(self, daemon: Daemon, key: str) -> list[Any]:
        told = replicator("versions", key, "--escaped", "--data", str(daemon.data), "--json")
        found: list[Any] = json.loads(told.stdout)["versions"]
        return found


@pytest.fixture(scope="module")
def pair(browser: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("pair")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPLICATOR_ACCESS_HTTP_TOKEN", TOKEN)
        with (
            serving(directory / "amsterdam", "--http", "0") as first,
            serving(directory / "berlin", "--name", NAME) as second,
        ):
            for number, daemon in enumerate((first, second)):
                for key in KEYS:
                    value = f'{{"city": "{daemon.data.name}", "html": "<u>{number}</u>"}}'
                    put = ["put", key, value, "--escaped", "--data", str(daemon.data)]
                    assert replicator(*put).exit_code == 0
            joined = replicator("join", second.address, "--data", str(first.data))
            assert joined.exit_code == 0, joined.stderr
            yield Pair(first, second)


def opened(browser: Chromium, pair: Pair, **look: Any) -> Page:
    page = browser.open(pair.url, **look)
    page.until("document.querySelector('#live').textContent === 'live'")
    return page


def unlocked(browser: Chromium, pair: Pair, **look: Any) -> Page:
    """A page that has the token, given by keyboard alone."""
    page = opened(browser, pair, **look)
    page.until("!document.querySelector('#token').hidden")
    for _ in range(10):
        page.press("Tab")
        if page.run("document.activeElement.id") == "token":
            break
    page.press("Enter")
    page.until("document.activeElement.id === 'ask-token'")
    page.type(TOKEN)
    page.press("Enter")
    page.until("document.querySelectorAll('.conflict').length > 0")
    return page


def is_quiet(page: Page) -> None:
    """Nothing was run, asked for or complained of that should not have been."""
    assert page.complaints() == []
    assert page.run("window.pwned === undefined")
    assert (
        page.run("document.querySelectorAll('main img, main b, main u, main script').length") == 0
    )


def test_it_shows_the_node_and_its_peer_live(browser: Chromium, pair: Pair) -> None:
    page = opened(browser, pair)
    assert page.text("#name") == "amsterdam"
    assert page.text("#ready").endswith("ready")
    page.until("document.querySelectorAll('#peers tbody tr').length === 1")
    assert page.text("#peers tbody th .name") == NAME
    page.until("document.querySelector('.graph .peer .name') !== null")
    label = page.run("document.querySelector('.graph').getAttribute('aria-label')")
    assert label.startswith(f"amsterdam and its peers. {NAME}: ")
    for number in range(20):
        put = ["put", f"later:{number}", "v", "--data", str(pair.first.data)]
        assert replicator(*put).exit_code == 0
    page.until("/[1-9]/.test(document.querySelector('.tile .value').textContent)")
    page.until("document.querySelector('.plot .line').getAttribute('d').length > 20")
    spoken = page.run("document.querySelector('.plot svg').getAttribute('aria-label')")
    assert spoken.startswith("Writes here: ")
    assert page.run("document.title").endswith("amsterdam · replicator")
    assert {url.partition("/")[0] for url in page.requests()} == {"http:"}
    assert all(url.startswith(pair.url) for url in page.requests())
    is_quiet(page)


def test_without_the_token_neither_keys_nor_values_are_there(browser: Chromium, pair: Pair) -> None:
    page = opened(browser, pair)
    page.until("document.querySelector('.locked') !== null")
    page.until(f"document.querySelector('#conflicts-count').textContent === '{len(KEYS)}'")
    assert f"{len(KEYS)} keys are in conflict" in page.text("#conflicts")
    whole = page.run("document.documentElement.outerHTML")
    assert "user:1042" not in whole and "city" not in whole
    is_quiet(page)


def test_a_wrong_token_is_told(browser: Chromium, pair: Pair) -> None:
    page = opened(browser, pair)
    page.until("!document.querySelector('#token').hidden")
    page.run("document.querySelector('#token').click()")
    page.until("document.activeElement.id === 'ask-token'")
    page.type("wrong")
    page.press("Enter")
    page.until(
        "document.querySelector('#ask').open && !document.querySelector('#ask-wrong').hidden"
    )
    assert page.text("#ask-wrong") == "The node does not take this token."
    page.press("Escape")
    page.until("!document.querySelector('#ask').open")
    page.until("document.querySelector('#live').textContent === 'live'")
    assert page.run("sessionStorage.length") == 0


def test_keys_and_values_of_strangers_are_text(browser: Chromium, pair: Pair) -> None:
    page = unlocked(browser, pair)
    page.run("document.querySelector('.more').click()")
    page.until(f"document.querySelectorAll('.conflict').length === {len(KEYS)}")
    script = "[...document.querySelectorAll('.conflict h3 code')].map(one => one.textContent)"
    keys = page.run(script)
    for key in KEYS:
        if r"\xff" not in key:
            assert key in keys
    assert "62 69 6e 61 72 79 ff 00 fe" in keys
    values = page.run(
        "[...document.querySelectorAll('.version .value')].map(one => one.textContent)"
    )
    assert '{"city": "amsterdam", "html": "<u>0</u>"}' in values
    assert '{"city": "berlin", "html": "<u>1</u>"}' in values
    text = page.run("document.body.textContent")
    assert not any(character in text for character in "\x1b\x07\u202e")
    assert page.run("document.title").endswith("amsterdam · replicator")
    is_quiet(page)
    # What the browser would do, should a way for markup be found one day.
    assert page.run(
        "(() => { try { document.body.innerHTML = '<i>'; return false } catch { return true } })()"
    )
    assert page.run("fetch('https://other.example/').then(() => false, () => true)")
    assert any("Content Security Policy" in one for one in page.complaints())


def test_settling_a_conflict(browser: Chromium, pair: Pair) -> None:
    page = unlocked(browser, pair)
    before = page.run("Number(document.querySelector('#conflicts-count').textContent)")
    loser = (
        "[...document.querySelectorAll('.conflict')]"
        ".find(one => one.querySelector('h3 code').textContent === 'user:1042'"
        ")?.querySelector('.version:not(.wins)')"
    )
    if not page.run(f"Boolean({loser})"):
        page.run("document.querySelector('.more').click()")
    wanted = page.run(f"{loser}.querySelector('.value').textContent")
    assert "Keep the version of " in page.run(
        f"{loser}.querySelector('button').getAttribute('aria-label')"
    )
    page.run(f"{loser}.querySelector('button').focus()")
    page.press("Enter")
    page.until("document.querySelector('#said').textContent.startsWith('Settled')")
    page.until(f"Number(document.querySelector('#conflicts-count').textContent) === {before - 1}")
    page.until("document.querySelector('#events .is-settled') !== null")
    for daemon in (pair.first, pair.second):
        until(lambda daemon=daemon: len(pair.versions(daemon, "user:1042")) == 1)  # type: ignore[misc]
        assert pair.versions(daemon, "user:1042")[0]["value"] == wanted
    is_quiet(page)


CONTRAST = """
(() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return text.startsWith("color(") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const light = (color) => {
    const [r, g, b] = color.map((one) => {
      const part = one / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      layers.push(parse(getComputedStyle(one).backgroundColor));
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const isText = (node) => node.nodeType === 3 && node.textContent.trim();
    const style = getComputedStyle(element);
    const isSeen = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!isSeen || element.disabled || ![...element.childNodes].some(isText)) continue;
    const below = ground(element);
    const isDrawn = element.namespaceURI.endsWith("svg");
    if (isDrawn && element.closest(".self")) continue;
    const color = over(parse(isDrawn ? style.fill : style.color), below);
    const [a, b] = [light(color), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push([element.tagName, element.textContent.slice(0, 30), ratio]);
  }
  return poor;
})()
"""


@pytest.mark.parametrize(
    ("name", "width", "height", "dark"),
    [
        ("desktop-light", 1280, 900, False),
        ("desktop-dark", 1280, 900, True),
        ("phone-light", 390, 844, False),
        ("phone-dark", 320, 640, True),
    ],
)
def test_it_is_readable_everywhere(
    name: str, width: int, height: int, dark: bool, browser: Chromium, pair: Pair
) -> None:
    page = unlocked(browser, pair, width=width, height=height, dark=dark)
    page.until("document.querySelectorAll('#peers tbody tr').length === 1")
    page.until("document.querySelectorAll('#events li').length > 2")
    page.picture(PICTURES / f"{name}.png")
    assert page.run("document.documentElement.scrollWidth") <= width
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) < 200) is dark
    assert page.run(CONTRAST) == []
    if width < 600:
        small = "[...document.querySelectorAll('button')].filter(b => b.checkVisibility())"
        assert page.run(f"{small}.filter(b => b.getBoundingClientRect().height < 44).length") == 0
    is_quiet(page)


def test_what_can_be_pressed_has_a_name(browser: Chromium, pair: Pair) -> None:
    page = unlocked(browser, pair)
    page.run("document.querySelector('#token').click()")  # forgets it
    page.run("document.querySelector('#token').click()")
    page.until("document.querySelector('#ask').open")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "textbox", "image", "link", "dialog", "region"}
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in roles
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    page.press("Escape")


def test_it_comes_back_when_the_daemon_does(browser: Chromium, tmp_path: Path) -> None:
    with serving(tmp_path / "a", "--http", "0") as daemon:
        port = port_of(daemon)
        page = browser.open(f"http://127.0.0.1:{port}/")
        page.until("document.querySelector('#live').textContent === 'live'")
        assert page.run("document.querySelector('#token').hidden")
        origin = daemon.ready["origin"]
        daemon.end(signal.SIGKILL)
        page.until("document.querySelector('#live').textContent === 'not connected'")
        assert page.run("document.body.classList.contains('stale')")
    with serving(tmp_path / "a", "--http", str(port)) as daemon:
        page.until("document.querySelector('#live').textContent === 'live'")
        assert page.text("#said") == "Connected again"
        assert daemon.ready["origin"] == origin
