"""The image and the three nodes of compose.yaml.

No Docker engine runs here. What the image is built of, and how, is done without one: the context is
filtered as .dockerignore says, and the commands of the build stage run on it, in directories of the
test's own. Packages come from this Python's own environment instead of the registry.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import replicator
from replicator.faces.cli.app import cli
from tests.deploy.dockerfile import read_dockerfile
from tests.deploy.tools import CONFIGS, ROOT, checked, document, faults

DOCKER = CONFIGS / "docker"
DOCKERFILE = DOCKER / "Dockerfile"
COMPOSE = DOCKER / "compose.yaml"
BUILD, IMAGE = read_dockerfile(DOCKERFILE)


def config() -> dict[str, dict[str, str]]:
    return tomllib.loads((DOCKER / "replicator.toml").read_text())


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_the_linter_has_nothing_to_say(tmp_path: Path) -> None:
    checked("hadolint", "--failure-threshold", "style", DOCKERFILE)
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.read_text().replace("USER 10001:10001", "RUN sudo true\nUSER root"))
    assert "DL3002" in faults("hadolint", "--failure-threshold", "style", bad)


def test_the_image_is_closed_and_says_how_it_is() -> None:
    assert BUILD.base.endswith("-slim-bookworm AS build")
    assert IMAGE.base.endswith("-slim-bookworm")
    assert IMAGE.last("USER") == "10001:10001"
    assert IMAGE.last("STOPSIGNAL") == "SIGTERM"
    program, *arguments = IMAGE.exec_form("HEALTHCHECK")
    assert program == "replicator" and arguments[0] in cli.commands
    assert IMAGE.exec_form("ENTRYPOINT") == ["replicator"]
    (command,) = IMAGE.exec_form("CMD")
    assert command in cli.commands
    (data,) = re.findall(r"REPLICATOR_DATA=(\S+)", IMAGE.last("ENV"))
    assert Path(data).parent == Path(IMAGE.last("VOLUME"))
    assert Path(data).parent == Path(IMAGE.last("RUN").rpartition(" ")[2])


def context(directory: Path) -> Path:
    """What a builder sees of the source tree."""
    if not (ROOT / ".git").exists():
        pytest.skip("an image is built from a checkout")
    nothing, *lines = re.findall(r"^[^#\n].*", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert nothing == "*"
    admitted = {line[1:] for line in lines if line.startswith("!")}
    known = checked("git", "ls-files", "--cached", "--others", "--exclude-standard").split("\n")
    for name in filter(None, known):
        if Path(name).parts[0] in admitted and (ROOT / name).exists():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)
    return directory


def test_the_image_is_built_of_nothing_that_is_not_needed(tmp_path: Path) -> None:
    """Every path of the context is copied, and every one that is copied is there."""
    seen = {path.name for path in context(tmp_path).iterdir()}
    assert seen == {name for rest in BUILD.every("COPY") for name in rest.split()[:-1]}


def copied(seen: Path, directory: Path) -> Path:
    """What the build stage copies of its context."""
    for rest in BUILD.every("COPY"):
        *names, target = rest.split()
        for name in names:
            if (seen / name).is_dir():
                shutil.copytree(seen / name, directory / target)
            else:
                (directory / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(seen / name, directory / target)
    return directory


@pytest.mark.processes
def test_what_is_built_serves(tmp_path: Path) -> None:
    """The build stage's own commands; then the daemon that came of it, and its health check."""
    source = copied(context(tmp_path / "context"), tmp_path / "source")
    made = tmp_path / "opt"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # this means: none
    }
    for step in BUILD.every("RUN"):
        here = step.replace("/opt/replicator", str(made))
        assert here != step
        done = subprocess.run(
            here, shell=True, cwd=source, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)
    environment["PATH"] = f"{made / 'bin'}:{os.environ['PATH']}"
    environment["REPLICATOR_DATA"] = str(tmp_path / "volume" / "data")
    healthy = IMAGE.exec_form("HEALTHCHECK")

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )

    assert run(*healthy).returncode == 4
    version = run("replicator", "--version").stdout
    assert version.strip().endswith(replicator.__version__)
    listening = ["--listen", "127.0.0.1:0", "--no-multicast"]
    daemon = subprocess.Popen(
        [*IMAGE.exec_form("ENTRYPOINT"), *IMAGE.exec_form("CMD"), *listening],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert daemon.stdout is not None
        assert daemon.stdout.readline().startswith("ready: ")
        done = run(*healthy)
        assert (done.returncode, done.stderr) == (0, "")
        daemon.terminate()
        assert daemon.wait(60) == 0
        assert run(*healthy).returncode == 4
    finally:
        daemon.kill()
        daemon.wait()
        assert daemon.stdout is not None
        daemon.stdout.close()


def test_compose_knows_all_that_the_file_says(tmp_path: Path) -> None:
    check = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    checked(*check, COMPOSE)
    bad = tmp_path / "compose.yaml"
    bad.write_text(COMPOSE.read_text().replace("cap_drop:", "drop_caps:"))
    assert "drop_caps" in faults(*check, bad)


def test_three_nodes_with_names_volumes_and_ports_of_their_own() -> None:
    compose = document(COMPOSE)
    services = compose["services"]
    listening = config()
    assert listening["peers"]["static"] == [
        f"{name}:{listening['listen']['port']}" for name in services
    ]
    inside = {port(listening["resp"]["listen"]), port(listening["http"]["listen"])}
    exposed = {int(one) for one in IMAGE.last("EXPOSE").split()}
    assert exposed == inside | {int(listening["listen"]["port"])}
    published = []
    for name, service in services.items():
        assert service["hostname"] == service["environment"]["REPLICATOR_NODE_NAME"] == name
        assert service["volumes"] == [f"{name}:{IMAGE.last('VOLUME')}"]
        assert name in compose["volumes"]
        hosts, outer, inner = zip(*[one.split(":") for one in service["ports"]], strict=True)
        assert set(hosts) == {"127.0.0.1"}
        assert {int(one) for one in inner} == inside
        published += outer
    assert len(published) == len(set(published))
    # The image's variable overrides the file: they must mean the same.
    assert f"REPLICATOR_DATA={listening['node']['data']}" in IMAGE.last("ENV").split()


def test_containers_are_closed_and_read_what_they_are_given() -> None:
    compose = document(COMPOSE)
    (file,) = [one["file"] for one in compose["configs"].values()]
    secrets = {f"/run/secrets/{name}" for name in compose["secrets"]}
    assert set(config()["access"].values()) == secrets
    ignored = (ROOT / ".gitignore").read_text().split("\n")
    for secret in compose["secrets"].values():
        assert str((DOCKER / secret["file"]).parent.relative_to(ROOT)) + "/" in ignored
    for service in compose["services"].values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert set(service["secrets"]) == set(compose["secrets"])
        (mounted,) = service["configs"]
        assert compose["configs"][mounted["source"]]["file"] == file == "replicator.toml"
        assert service["command"] == ["serve", "--config", mounted["target"]]
        assert (COMPOSE.parent / service["build"]["context"]).resolve() == ROOT
        assert ROOT / service["build"]["dockerfile"] == DOCKERFILE
