"""Who may connect as what, and what becomes of their secrets."""

import os
import pickle
import traceback
from pathlib import Path

import pytest

from replicator.errors import ConfigError
from replicator.faces.access import (
    OPEN_ACCESS,
    Access,
    AccessConfig,
    Role,
    Secret,
    read_access,
    read_secret,
)
from replicator.faces.limits import SECRET_BYTES_MAX

ALL = Access(
    {Role.READONLY: b"looks", Role.APPLICATION: b"writes", Role.ADMIN: b"\xffrules"}, b"t0ken"
)


def secret_file(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_without_passwords_everybody_is_an_admin() -> None:
    assert OPEN_ACCESS.default_role is Role.ADMIN
    assert not OPEN_ACCESS.has_password
    assert OPEN_ACCESS.login(None, b"") is None
    assert OPEN_ACCESS.login(b"admin", b"") is None
    assert not OPEN_ACCESS.is_token("")


def test_one_password_of_any_role_shuts_everybody_else_out() -> None:
    access = Access({Role.READONLY: b"looks"})
    assert access.default_role is None
    assert access.login(b"admin", b"looks") is None
    assert access.login(None, b"looks") is Role.READONLY


@pytest.mark.parametrize(
    ("user", "password", "role"),
    [
        (b"readonly", b"looks", Role.READONLY),
        (b"application", b"writes", Role.APPLICATION),
        (b"admin", b"\xffrules", Role.ADMIN),
        (None, b"writes", Role.APPLICATION),
        (b"default", b"\xffrules", Role.ADMIN),
        (b"admin", b"writes", None),
        (b"readonly", b"\xffrules", None),
        (b"Admin", b"\xffrules", None),
        (b"", b"looks", None),
        (b"nobody", b"wrong", None),
        (None, b"wrong", None),
        (None, b"", None),
        (None, b"looks\n", None),
        (None, b"looks" + b"x" * 10_000_000, None),
    ],
)
def test_login(user: bytes | None, password: bytes, role: Role | None) -> None:
    assert ALL.login(user, password) is role


def test_a_longest_password_is_compared_to_its_end() -> None:
    longest = b"x" * SECRET_BYTES_MAX
    access = Access({Role.ADMIN: longest})
    assert access.login(None, longest) is Role.ADMIN
    assert access.login(None, longest + b"x") is None
    assert access.login(None, longest[:-1]) is None


def test_the_token_of_http() -> None:
    assert ALL.is_token("t0ken")
    for wrong in ("", "t0ke", "t0ken ", "T0ken", "\udcff", "tökén"):
        assert not ALL.is_token(wrong)


def test_roles_are_ordered() -> None:
    assert Role.READONLY < Role.APPLICATION < Role.ADMIN


def test_secrets_come_from_files_and_directly(tmp_path: Path) -> None:
    config = AccessConfig(
        {
            "admin_password": secret_file(tmp_path / "admin", b"rules\n"),
            "http_token": secret_file(tmp_path / "token", b"t0ken\r\n", 0o440),
        },
        {"readonly_password": Secret("looks\n", "REPLICATOR_ACCESS_READONLY_PASSWORD")},
    )
    assert config.has_password and config.has_token
    access = read_access(config)
    assert access.login(b"admin", b"rules") is Role.ADMIN
    assert access.login(b"readonly", b"looks") is Role.READONLY
    assert access.login(b"application", b"") is None
    assert access.is_token("t0ken")


def test_only_one_newline_at_the_end_is_left_out(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "p", b" two words \n")
    assert read_secret(path).reveal() == b" two words "


@pytest.mark.parametrize(
    ("data", "mode", "what"),
    [
        (b"", 0o600, "is empty"),
        (b"\n", 0o600, "is empty"),
        (b"one\n\n", 0o600, "more than one line"),
        (b"one\ntwo", 0o600, "more than one line"),
        (b"\0", 0o600, "more than one line"),
        (b"x" * (SECRET_BYTES_MAX + 1), 0o600, "longer than 1024 bytes"),
        (b"x", 0o644, r"open to other users \(mode 0644\): chmod 600"),
        (b"x", 0o660, r"open to other users \(mode 0660\)"),
        (b"x", 0o601, r"open to other users \(mode 0601\)"),
    ],
)
def test_a_file_that_cannot_be_meant(tmp_path: Path, data: bytes, mode: int, what: str) -> None:
    path = secret_file(tmp_path / "p", data, mode)
    with pytest.raises(ConfigError, match=what) as caught:
        read_secret(path)
    assert str(path) in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing cannot be read \(No such file"):
        read_secret(tmp_path / "missing")
    with pytest.raises(ConfigError, match="no regular file"):
        read_secret(tmp_path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigError, match="no regular file"):
        read_secret(tmp_path / "fifo")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_a_file_of_another_user(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "p", b"x")
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        read_secret(path)


def test_contradictions(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "p", b"same")
    twice = AccessConfig({"admin_password": path}, {"admin_password": Secret("x", "VARIABLE")})
    with pytest.raises(ConfigError, match=r"VARIABLE and admin_password_file = .* both given"):
        read_access(twice)
    equal = AccessConfig({"admin_password": path}, {"readonly_password": Secret("same", "VAR")})
    with pytest.raises(ConfigError, match="hold the same secret"):
        read_access(equal)
    with pytest.raises(ConfigError, match="printable ASCII"):
        read_access(AccessConfig({}, {"http_token": Secret("two words", "VAR")}))


def test_a_secret_shows_nowhere() -> None:
    secret = Secret("hidden", "VAR")
    config = AccessConfig({}, {"admin_password": secret})
    access = read_access(config)
    for shown in (secret, config, access, [secret], vars(Access)):
        assert "hidden" not in f"{shown} {shown!r}"
    assert "hidden" not in str([getattr(access, name) for name in Access.__slots__])
    with pytest.raises(TypeError, match="not to be copied"):
        pickle.dumps(secret)
    try:
        Secret("hidden\nhidden", "VAR")
    except ConfigError as error:
        assert "hidden" not in "".join(traceback.format_exception(error)).split("Secret(")[0]
        assert "hidden" not in str(error)
