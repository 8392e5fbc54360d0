"""The manifests: as the API server would have them, and fitting each other and the configuration.

A pod's files are laid out here as the kubelet would, and a node starts with them;
`tests/cli/test_configs.py` lets two pods find each other by SRV records.
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.dockerfile import read_dockerfile
from tests.deploy.tools import CONFIGS, checked, document, documents, faults

KUBERNETES = CONFIGS / "kubernetes"
KUSTOMIZATION = document(KUBERNETES / "kustomization.yaml")
OLDEST = "1.31"
"""Where unhealthyPodEvictionPolicy came to stay."""

OBJECTS = [one for name in KUSTOMIZATION["resources"] for one in documents(KUBERNETES / name)]
IMAGE = read_dockerfile(CONFIGS / "docker" / "Dockerfile")[-1]


def config() -> dict[str, Any]:
    return tomllib.loads((KUBERNETES / "replicator.toml").read_text())


def named(kind: str, name: str = "orders") -> Any:
    (one,) = [one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return one


STATEFUL_SET = named("StatefulSet")
POD = STATEFUL_SET["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
PORTS = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}


def test_the_schemas_have_nothing_to_say(tmp_path: Path) -> None:
    files = [KUBERNETES / name for name in KUSTOMIZATION["resources"]]
    for version in (OLDEST, "1.37"):
        checked("kubernetes-validate", "--strict", "--kubernetes-version", version, *files)
    bad = tmp_path / "bad.yaml"
    text = (KUBERNETES / "statefulset.yaml").read_text()
    bad.write_text(text.replace("terminationGracePeriodSeconds", "terminationGraceSeconds"))
    assert "terminationGraceSeconds" in faults("kubernetes-validate", "--strict", bad)


def test_everything_that_is_there_is_applied() -> None:
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(KUSTOMIZATION["resources"])
    (made,) = KUSTOMIZATION["configMapGenerator"]
    assert made["files"] == ["replicator.toml"]
    (image,) = KUSTOMIZATION["images"]
    assert image["name"] == CONTAINER["image"]


def test_selectors_find_the_pods() -> None:
    labels = POD["metadata"]["labels"]
    selectors = [
        STATEFUL_SET["spec"]["selector"]["matchLabels"],
        named("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        named("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *[one["spec"]["selector"] for one in OBJECTS if one["kind"] == "Service"],
        *[one["labelSelector"]["matchLabels"] for one in POD["spec"]["topologySpreadConstraints"]],
    ]
    assert len(selectors) == 7
    for selector in selectors:
        assert selector and selector.items() <= labels.items()


def test_pods_find_each_other() -> None:
    """By the service that gives them names, and the name of its port."""
    service = named("Service", STATEFUL_SET["spec"]["serviceName"])
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    (port,) = service["spec"]["ports"]
    assert config()["discovery"]["srv"] == [f"_{port['name']}._tcp.{service['metadata']['name']}"]
    (variable,) = CONTAINER["env"]
    assert variable["name"] == "REPLICATOR_NODE_NAME"
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert POD["spec"]["enableServiceLinks"] is False  # they make variables of such names, too


def test_ports_are_those_that_the_node_listens_on() -> None:
    listening = config()
    assert {
        "replication": listening["listen"]["port"],
        "resp": int(listening["resp"]["listen"].rpartition(":")[2]),
        "http": int(listening["http"]["listen"].rpartition(":")[2]),
    } == PORTS
    for service in (one for one in OBJECTS if one["kind"] == "Service"):
        for port in service["spec"]["ports"]:
            assert PORTS[port["targetPort"]] == port["port"]
    policy = named("NetworkPolicy")["spec"]
    assert {one["port"] for rule in policy["ingress"] for one in rule["ports"]} == set(PORTS)
    assert policy["egress"][0]["ports"] == [{"protocol": "TCP", "port": "replication"}]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert CONTAINER[probe]["httpGet"]["port"] == "http"
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_a_pod_is_closed() -> None:
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    user = int(IMAGE.last("USER").partition(":")[0])
    assert pod["runAsNonRoot"] and pod["runAsUser"] == pod["runAsGroup"] == pod["fsGroup"] == user
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["readOnlyRootFilesystem"] and not container["allowPrivilegeEscalation"]
    assert POD["spec"]["automountServiceAccountToken"] is False
    (data,) = [one for one in CONTAINER["volumeMounts"] if one["name"] == "data"]
    assert data["mountPath"] == IMAGE.last("VOLUME")
    # The image's variable overrides the file: they must mean the same.
    assert f"REPLICATOR_DATA={config()['node']['data']}" in IMAGE.last("ENV").split()
    assert Path(config()["node"]["data"]).parent == Path(data["mountPath"])
    (claim,) = STATEFUL_SET["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == data["name"]


def mounted() -> dict[str, str]:
    """What lies where a pod's configuration does: paths, and what each comes from."""
    (volume,) = POD["spec"]["volumes"]
    found = {}
    for source in volume["projected"]["sources"]:
        if "secret" in source:
            name = source["secret"]["name"]
            found |= {one["path"]: f"{name}/{one['key']}" for one in source["secret"]["items"]}
        else:
            (made,) = [
                one
                for one in KUSTOMIZATION["configMapGenerator"]
                if one["name"] == source["configMap"]["name"]
            ]
            found |= {file: f"{made['name']}/{file}" for file in made["files"]}
    return found


def test_every_file_that_is_named_is_mounted() -> None:
    (mount,) = [one for one in CONTAINER["volumeMounts"] if one["name"] == "config"]
    assert "subPath" not in mount  # such files are never renewed
    command, option, file = CONTAINER["args"]
    assert (command, option) == ("serve", "--config")
    listening = config()
    wanted = {*listening["tls"].values(), *listening["access"].values()}
    assert set(mounted()) == wanted | {str(Path(file).relative_to(mount["mountPath"]))}
    (volume,) = POD["spec"]["volumes"]
    assert volume["projected"]["defaultMode"] == 0o440


def test_secrets_are_made_as_the_head_of_the_file_says() -> None:
    head = (KUBERNETES / "replicator.toml").read_text().partition("\n\n[node]")[0]
    for source in mounted().values():
        name, _, key = source.partition("/")
        if not name.endswith("-config"):
            command = head.partition(f"create secret generic {name}")[2].partition("kubectl")[0]
            assert f"/{key}" in command or f"={key}" in command


def test_kubectl_puts_it_together() -> None:
    """With the ConfigMap's generated name, where it is referred to; needs a kubectl, and no
    cluster. Not among what CI must have: no package brings it."""
    import shutil

    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not there")
    built = list(yaml.safe_load_all(checked("kubectl", "kustomize", KUBERNETES)))
    kinds = {one["kind"]: one for one in built}
    assert len(built) == len(OBJECTS) + 1
    name = kinds["ConfigMap"]["metadata"]["name"]
    sources = kinds["StatefulSet"]["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
    assert sources[0]["configMap"]["name"] == name != "orders-config"
