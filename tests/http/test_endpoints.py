"""What is answered to which request."""

import base64
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from replicator.errors import StoreFailedError
from replicator.faces.http import endpoints
from replicator.faces.http.limits import HTTP_BODY_BYTES_MAX

from .serving import ADMIN, TOKEN, alone, conflicting, until

WRONG = {"Authorization": "Bearer wrong"}


async def test_the_page_and_its_parts(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        page = await served.ask("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for name, kind in (
            ("page.css", "text/css; charset=utf-8"),
            ("page.js", "text/javascript; charset=utf-8"),
            ("icon.svg", "image/svg+xml"),
        ):
            assert f'"static/{name}"' in page.text
            answer = await served.ask(f"/static/{name}")
            assert (answer.status, answer.headers["content-type"]) == (200, kind)


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/static/",
        "/static/nothing.js",
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/static/%00",
        "/%ff",
        "//evil.example/",
        "/static/page.js/",
        "/healthz/",
    ],
)
async def test_there_is_nothing_else(path: str, tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        answer = await served.ask(path)
        assert answer.status in (307, 400, 404)
        assert answer.headers.get("location", "").startswith(("", "http://127.0.0.1"))
        assert b"import" not in answer.body


async def test_ready_and_not(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        assert (await served.ask("/readyz")).text == "ready\n"
        served.replica._engine.store.level.fail("a test failed it")

        async def is_unready() -> bool:
            return (await served.ask("/readyz")).status == 503

        await until(is_unready)
        answer = await served.ask("/readyz")
        assert "refuses writes since a test failed it" in answer.text
        assert (await served.ask("/healthz")).status == 200
        served.replica._engine.store.level.failed = None


async def test_a_daemon_that_is_about_to_end_is_not_ready(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        assert (await served.ask("/readyz")).status == 200
        served.server.drain()
        answer = await served.ask("/readyz")
        assert (answer.status, answer.text) == (503, "the daemon is closing\n")


async def test_status_is_what_the_handle_tells(tmp_path: Path) -> None:
    async with conflicting(tmp_path, b"secret-key") as (served, _):

        async def has_met() -> Any:
            found = (await served.ask("/status")).json
            has_read = found["status"]["traffic"]["records_in"] > 0
            return found if has_read and len(found["members"]) == 2 else None

        found = await until(has_met)
        assert found["ready"] is True and found["faults"] == []
        assert found["status"]["name"] == "a"
        assert found["status"]["origin"] == served.replica.origin
        assert {one["name"] for one in found["members"]} == {"a", "b"}
        assert found["resp"] is None
        assert "secret-key" not in json.dumps(found)


async def test_conflicts_are_for_those_who_have_the_token(tmp_path: Path) -> None:
    async with conflicting(tmp_path, b"a", b"\xff") as (served, _):
        for headers in ({}, WRONG, {"Authorization": f"Basic {TOKEN}"}):
            answer = await served.ask("/conflicts", headers=headers)
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert b"ours" not in answer.body
        await until(lambda: _is_counted(served))
        found = (await served.ask("/conflicts", headers=ADMIN)).json
        assert found["open"] == 2 and not found["locked"]
        assert [one["key"] for one in found["listed"]] == ["a", {"base64": "/w=="}]
        values = {one["value"]["text"] for one in found["listed"][0]["versions"]}
        assert values == {"ours", "theirs"}


async def _is_counted(served: Any) -> bool:
    found = (await served.ask("/conflicts", headers=ADMIN)).json
    return found["open"] is not None and len(found["listed"]) == found["open"] > 0


async def test_where_no_token_is_set_conflicts_are_shown_and_nothing_can_be_changed(
    tmp_path: Path,
) -> None:
    async with conflicting(tmp_path, b"a", token=None) as (served, _):
        await until(lambda: _is_counted(served))
        (listed,) = (await served.ask("/conflicts")).json["listed"]
        for headers in ({}, ADMIN, WRONG):
            answer = await served.settle(headers, key="a", dot=listed["dots"][0])
            assert answer.status == 401
            assert "and none is set" in answer.json["error"] or "Authorization" in headers
        assert len(served.replica.versions(b"a")) == 2


@pytest.mark.parametrize("key", [b"user:1", b"\x00\xff", "ключ".encode(), b"<script>"])
async def test_settling(key: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with conflicting(tmp_path, key) as (served, theirs):
        shown, loser = served.replica.versions(key)
        try:
            told: Any = key.decode()
        except UnicodeDecodeError:
            told = {"base64": base64.b64encode(key).decode()}
        dots = [str(one.dot) for one in (shown, loser)]
        answer = await served.settle(key=told, dot=str(loser.dot), seen=dots)
        assert answer.status == 200
        (left,) = served.replica.versions(key)
        assert answer.json == {"dot": str(left.dot), "settled": True}
        assert served.replica.get(key) == loser.value
        assert await theirs.synchronize(30)
        assert theirs.get(key) == loser.value and len(theirs.versions(key)) == 1
        assert "was settled over HTTP from 127.0.0.1" in caplog.text
        assert TOKEN not in caplog.text


async def test_a_version_that_has_come_since_stays(tmp_path: Path) -> None:
    async with conflicting(tmp_path, b"k") as (served, _):
        first, second = served.replica.versions(b"k")
        answer = await served.settle(key="k", dot=str(first.dot), seen=[str(first.dot)])
        assert (answer.status, answer.json["settled"]) == (200, False)
        assert second in served.replica.versions(b"k")


@pytest.mark.parametrize(
    ("wanted", "status", "words"),
    [
        ({"key": "k"}, 400, "dot"),
        ({"dot": "0" * 16 + ":1"}, 400, "key"),
        ({"key": 7, "dot": "x"}, 400, "key"),
        ({"key": "k", "dot": "x"}, 400, "no dot"),
        ({"key": "k", "dot": "0" * 16 + ":1", "seen": ["x"]}, 400, "no dot"),
        ({"key": "k", "dot": "0" * 16 + ":1", "more": 1}, 400, "more"),
        ({"key": {"hex": "00"}, "dot": "0" * 16 + ":1"}, 400, "base64"),
        ({"key": {"base64": "%"}, "dot": "0" * 16 + ":1"}, 400, "base64"),
        ({"key": "k", "dot": "0" * 16 + ":1"}, 409, "no live version"),
        ({"key": {"base64": "/////w=="}, "dot": "0" * 16 + ":1"}, 400, "reserved"),
        ([], 400, "object"),
    ],
)
async def test_what_cannot_be_meant_is_told(
    wanted: Any, status: int, words: str, tmp_path: Path
) -> None:
    async with alone(tmp_path) as served:
        served.replica.put(b"k", b"v")
        sent = {**ADMIN, "Content-Type": "application/json; charset=utf-8"}
        body = json.dumps(wanted).encode()
        answer = await served.ask("/conflicts/resolve", "POST", sent, body)
        assert (answer.status, words in answer.json["error"]) == (status, True), answer.text
        assert served.replica.get(b"k") == b"v"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{}", 401),
        (WRONG, b"{}", 401),
        ({**ADMIN, "Content-Type": "text/plain"}, b"{}", 415),
        ({**ADMIN, "Content-Type": ""}, b"{}", 415),
        ({**ADMIN, "Content-Type": "application/json"}, b"", 400),
        ({**ADMIN, "Content-Type": "application/json"}, b"\xff", 400),
        ({**ADMIN, "Content-Type": "application/json"}, b"[" * 50_000, 400),
        ({**ADMIN, "Content-Type": "application/json"}, b"x" * (HTTP_BODY_BYTES_MAX + 1), 413),
    ],
)
async def test_requests_that_are_refused(
    headers: Mapping[str, str], body: bytes, status: int, tmp_path: Path
) -> None:
    async with alone(tmp_path) as served:
        answer = await served.ask("/conflicts/resolve", "POST", headers, body)
        assert answer.status == status
        assert answer.json["error"]
        assert (await served.ask("/healthz")).status == 200


async def test_a_store_that_takes_no_writes_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with conflicting(tmp_path, b"k") as (served, _):
        (dot, _) = (str(one.dot) for one in served.replica.versions(b"k"))

        def refuse(*_: object, **__: object) -> None:
            raise StoreFailedError("make room")

        monkeypatch.setattr(type(served.replica), "resolve", refuse)
        answer = await served.settle(key="k", dot=dot)
        assert (answer.status, answer.json["error"]) == (503, "make room")


async def test_a_thousand_wrong_tokens_hold_nobody_up_and_fill_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(endpoints, "HTTP_DENIED_SECONDS", 0.01)
    async with alone(tmp_path) as served:

        async def guess(stream: trio.SocketStream) -> None:
            for number in range(100):
                await stream.send_all(
                    b"GET /conflicts HTTP/1.1\r\nHost: localhost\r\n"
                    b"Authorization: Bearer guess-%d\r\n\r\n" % number
                )
                data = b""
                while not data.endswith(b"}\n"):
                    data += bytes(await stream.receive_some(1 << 16))
                assert data.startswith(b"HTTP/1.1 401")

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(guess, await served.raw())
            assert (await served.ask("/conflicts", headers=ADMIN)).status == 200
            assert (await served.ask("/healthz")).status == 200
        warned = [one for one in caplog.records if "wrong token" in one.message]
        assert 1 <= len(warned) <= 2
        assert "guess" not in caplog.text


async def test_a_wrong_token_takes_its_time(tmp_path: Path, mock_clock: Any) -> None:
    async with alone(tmp_path) as served, trio.open_nursery() as nursery:
        done = trio.Event()

        async def guess() -> None:
            assert (await served.ask("/conflicts", headers=WRONG)).status == 401
            done.set()

        nursery.start_soon(guess)
        for _ in range(200):
            await trio.sleep(0)
        assert not done.is_set()
        while not done.is_set():
            mock_clock.jump(endpoints.HTTP_DENIED_SECONDS)
            await trio.to_thread.run_sync(lambda: None)


async def test_a_fault_of_ours_is_logged_and_tells_the_client_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with alone(tmp_path) as served:

        def fail(*_: object) -> None:
            raise RuntimeError("an inner secret")

        monkeypatch.setattr(endpoints, "render", fail)
        answer = await served.ask("/metrics")
        assert answer.status == 500
        assert "secret" not in answer.text

        async def is_logged() -> bool:
            return "an inner secret" in caplog.text

        await until(is_logged)
        assert (await served.ask("/readyz")).status == 200
