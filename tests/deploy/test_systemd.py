"""The units: systemd reads them without a complaint, the service is shut in, and what the units
name is what the configuration names.

The unit itself was started by hand under a systemd in a container; here is none.
"""

import os
import re
import tomllib
from pathlib import Path

import pytest

from replicator.config import Settings
from replicator.faces.configuration.sections import RespSection
from replicator.faces.http.limits import HTTP_CONNECTIONS_MAX
from replicator.faces.redis.limits import RESP_DESCRIPTORS_LEFT
from tests.deploy.tools import CONFIGS, DOCS, checked, document, faults

UNITS = CONFIGS / "systemd"
EXPOSURE_MAX = 1.5
"""Of 10; systemd calls up to 2 "OK", and what is left are the network and other programs' users."""

SETTING = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)


def settings(path: Path) -> dict[str, list[str]]:
    """What a unit says, by name."""
    found: dict[str, list[str]] = {}
    for name, value in SETTING.findall(path.read_text()):
        found.setdefault(name, []).append(value)
    return found


def installed(name: str, directory: Path, *, wrong: str = "") -> Path:
    """A copy of a unit whose program is there, as it is on a machine where it was installed."""
    text = (UNITS / name).read_text().replace("/opt/replicator/bin/replicator", "/bin/true")
    path = directory / name
    path.write_text(text + wrong)
    return path


@pytest.mark.parametrize("name", ["replicator.service", "replicator@.service"])
def test_systemd_knows_all_that_a_unit_says(name: str, tmp_path: Path) -> None:
    unit = installed(name, tmp_path)
    assert checked("systemd-analyze", "verify", "--man=no", unit).strip() == ""
    wrong = installed(name, tmp_path, wrong="[Service]\nWatchdogSecs=30\nRestart=on-whim\n")
    complaint = checked("systemd-analyze", "verify", "--man=no", wrong)
    assert "WatchdogSecs" in complaint and "on-whim" in complaint


@pytest.mark.parametrize("name", ["replicator.service", "replicator@.service"])
def test_the_service_is_shut_in(name: str, tmp_path: Path) -> None:
    unit = installed(name, tmp_path)
    limit = f"--threshold={EXPOSURE_MAX * 10:g}"
    checked("systemd-analyze", "security", "--offline=true", limit, "--no-pager", unit)
    open_door = installed(name, tmp_path, wrong="[Service]\nProtectSystem=no\nUser=root\n")
    faults("systemd-analyze", "security", "--offline=true", limit, "--no-pager", open_door)


def test_one_node_and_one_of_several_differ_in_names_alone() -> None:
    one = (UNITS / "replicator.service").read_text().partition("\n\n")[2]
    several = (UNITS / "replicator@.service").read_text().partition("\n\n")[2]
    as_one = (
        several.replace(" (%i)", "")
        .replace("/etc/replicator/%i.toml", "/etc/replicator/replicator.toml")
        .replace("Directory=replicator/%i", "Directory=replicator")
    )
    assert as_one == one


def test_the_daemon_is_watched_and_may_take_its_time() -> None:
    unit = settings(UNITS / "replicator.service")
    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"]
    assert unit["WatchdogSec"] == ["30s"]
    assert unit["ExecReload"] == ["/bin/sh -c 'kill -HUP $MAINPID'"]  # /bin/kill is a package
    assert unit["Restart"] == ["on-failure"]
    assert "ProcSubset" not in unit  # R11 reads the boot id in /proc/sys


def test_the_socket_may_be_given_to_its_group() -> None:
    """Which is a privileged call to systemd, as it is to give a file to another user."""
    filters = settings(UNITS / "replicator.service")["SystemCallFilter"]
    assert filters.index("@chown") > filters.index("~@privileged @resources")


def test_there_are_file_descriptors_for_all_that_may_connect() -> None:
    clients, peers = RespSection().clients_max, Settings().connections_max
    needed = clients + peers + HTTP_CONNECTIONS_MAX + RESP_DESCRIPTORS_LEFT
    (limit,) = settings(UNITS / "replicator.service")["LimitNOFILE"]
    assert int(limit) >= needed
    services = document(CONFIGS / "docker" / "compose.yaml")["services"]
    assert {one["ulimits"]["nofile"] for one in services.values()} == {int(limit)}
    told = (DOCS / "DEPLOY.md").read_text()
    assert f"{int(limit):,} are enough for {clients:,} clients" in told
    assert f"{RESP_DESCRIPTORS_LEFT} are kept" in told
    assert f"up to {HTTP_CONNECTIONS_MAX}." in told


def test_paths_are_those_of_the_configuration() -> None:
    unit = settings(UNITS / "replicator.service")
    config = tomllib.loads((UNITS / "replicator.toml").read_text())
    (state,) = unit["StateDirectory"]
    (runtime,) = unit["RuntimeDirectory"]
    assert config["node"]["data"] == f"/var/lib/{state}"
    assert Path(config["resp"]["socket"]).parent == Path("/run") / runtime
    assert [config["resp"]["socket_group"]] == unit["Group"] == unit["User"]
    assert unit["ExecStart"] == [
        "/opt/replicator/bin/replicator serve --config /etc/replicator/replicator.toml"
    ]
    (user,) = re.findall(r"^u (\w+) ", (UNITS / "sysusers.conf").read_text(), re.MULTILINE)
    assert [user] == unit["User"]
    made = re.findall(r"^d (\S+) +(\d+) (\w+) (\w+)", (UNITS / "tmpfiles.conf").read_text(), re.M)
    places = {place: (mode, owner, group) for place, mode, owner, group in made}
    assert places["/etc/replicator/tls"] == ("0750", "root", user)
    assert places["/etc/replicator/access"] == ("0700", "root", "root")
    for file in config["tls"].values():
        assert str(Path("/etc/replicator") / file).startswith("/etc/replicator/tls/")


def test_passwords_come_as_credentials() -> None:
    """Each credential is loaded from the directory that is made for it, and named to the daemon."""
    unit = settings(UNITS / "access.conf")
    loaded = dict(one.split(":") for one in unit["LoadCredential"])
    named = dict(one.split("=") for one in unit["Environment"])
    assert loaded == {name: f"/etc/replicator/access/{name}" for name in loaded}
    assert named == {
        f"REPLICATOR_ACCESS_{name.replace('-', '_').upper()}_FILE": f"%d/{name}" for name in loaded
    }


def test_the_drop_in_fits_the_unit(tmp_path: Path) -> None:
    installed("replicator.service", tmp_path)
    drop_in = tmp_path / "replicator.service.d" / "access.conf"
    drop_in.parent.mkdir()
    drop_in.write_text((UNITS / "access.conf").read_text())
    verify = ("systemd-analyze", "verify", "--man=no", tmp_path / "replicator.service")
    assert checked(*verify).strip() == ""
    drop_in.write_text(drop_in.read_text() + "LoadCredentials=all\n")
    assert "LoadCredentials" in checked(*verify)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to root and to another user")
def test_user_and_directories_are_made(tmp_path: Path) -> None:
    """By systemd's own programs, in a directory that stands for the machine's root."""
    for name in ("etc", "usr"):
        (tmp_path / name).mkdir()
    checked("systemd-sysusers", f"--root={tmp_path}", UNITS / "sysusers.conf")
    entry = r"^replicator:x:\d+:\d+:Replicated LevelDB:/var/lib/replicator:\S*/nologin$"
    assert re.search(entry, (tmp_path / "etc/passwd").read_text(), re.MULTILINE)
    checked("systemd-tmpfiles", "--create", f"--root={tmp_path}", UNITS / "tmpfiles.conf")
    assert (tmp_path / "etc/replicator/access").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "etc/replicator/tls").stat().st_mode & 0o777 == 0o750
