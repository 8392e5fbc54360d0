"""URLs, secrets and what is shown of them."""

import ssl
from pathlib import Path

import pytest

from replicator.errors import ConfigError
from replicator.faces.client.endpoints import PASSWORD, USER, Endpoint, endpoints_of


def one(url: str, user: str | None = None, password: str | None = None) -> Endpoint:
    (endpoint,) = endpoints_of(url, user, password, None)
    return endpoint


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("unix:./a", "unix:a"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("unix:///run/x.sock", "unix:/run/x.sock"),
        ("redis://host", "redis://host:6379"),
        ("redis://host:7000/", "redis://host:7000"),
        ("redis://host:7000/0", "redis://host:7000"),
        ("redis://[::1]:7000", "redis://[::1]:7000"),
        ("rediss://host", "rediss://host:6379"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    assert str(one(url)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:7000",
        "http://host",
        "unix:",
        "unix://host/x",
        "redis://",
        "redis://host:70000",
        "redis://host:0",
        "redis://host:x",
        "redis://[::1",
        "redis://host/3",
        "redis://host?db=1",
        7,
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        endpoints_of([url], None, None, None)


def test_a_refusal_never_shows_the_password() -> None:
    for url in ("redis://me:s3cret@host/9", "redis://me:s3cret@host:x", "http://me:s3cret@h"):
        with pytest.raises(ConfigError) as caught:
            one(url)
        assert "s3cret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_who_logs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one("redis://h").login == ()
    assert one("redis://a:p%40%2F@h").login == (b"AUTH", b"a", b"p@/")
    assert one("redis://:p@h").login == (b"AUTH", b"default", b"p")
    assert one("redis://h", "u", "q").login == (b"AUTH", b"u", b"q")
    assert one("unix:x", "u", "q").login == (b"AUTH", b"u", b"q")
    assert one("redis://a:p@h", "u", "q").login == (b"AUTH", b"a", b"p")
    monkeypatch.setenv(USER, "admin")
    monkeypatch.setenv(PASSWORD, "env")
    assert one("redis://h").login == (b"AUTH", b"admin", b"env")
    assert one("redis://h", "u", "q").login == (b"AUTH", b"u", b"q")


def test_nothing_that_is_printed_holds_a_password() -> None:
    endpoint = one("redis://a:s3cret@h")
    assert "s3cret" not in f"{endpoint} {endpoint!r}"


def test_none_and_two_of_the_same() -> None:
    with pytest.raises(ConfigError, match="needs the URL"):
        endpoints_of([], None, None, None)
    with pytest.raises(ConfigError, match="named twice"):
        endpoints_of(["redis://h", "redis://h:6379/0"], None, None, None)


def test_tls(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    (given,) = endpoints_of("rediss://h", None, None, context)
    assert given.tls is context
    assert one("redis://h").tls is None
    made = one("rediss://h").tls
    assert made is not None
    assert made.verify_mode == ssl.CERT_REQUIRED
    with pytest.raises(ConfigError, match="not all can be read"):
        endpoints_of("rediss://h", None, None, {"ca": str(tmp_path / "none.crt")})
    for wrong in ({"certificate": "x"}, {"cert": "x"}):
        with pytest.raises(ConfigError, match="takes the files"):
            endpoints_of("rediss://h", None, None, wrong)
