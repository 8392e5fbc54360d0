"""Alerts fire when they should and only then; alerts and plots speak of metrics that there are."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.alertcases import CASES
from tests.deploy.metrics import METRICS, OF_PROMETHEUS
from tests.deploy.tools import CONFIGS, checked, document, faults

ALERTS = CONFIGS / "prometheus" / "alerts.yml"
DASHBOARD = CONFIGS / "grafana" / "replicator.json"

(GROUP,) = document(ALERTS)["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def plotted() -> Iterator[str]:
    """Every expression of the dashboard, with Grafana's variables filled in."""
    for panel in panels():
        for target in panel.get("targets", ()):
            yield (
                target["expr"]
                .replace("$__rate_interval", "1m")
                .replace("$job", "replicator")
                .replace("$instance", ".*")
            )


def expressions() -> list[str]:
    return [rule["expr"] for rule in RULES.values()] + list(plotted())


def test_promtool_has_nothing_to_say(tmp_path: Path) -> None:
    checked("promtool", "check", "rules", ALERTS)
    checked("promtool", "check", "config", CONFIGS / "prometheus" / "prometheus.yml")
    # Debian's promtool was made without Kubernetes.
    there = document(CONFIGS / "prometheus" / "kubernetes.yml")
    (job,) = there["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    there["rule_files"] = [str(ALERTS)]
    without = tmp_path / "prometheus.yml"
    without.write_text(yaml.safe_dump(there))
    checked("promtool", "check", "config", without)


def test_every_expression_is_one(tmp_path: Path) -> None:
    """As recording rules, so that promtool reads those of the dashboard, too."""
    rules = [{"record": f"plotted:{number}", "expr": expr} for number, expr in enumerate(plotted())]
    assert len(rules) > 30
    file = tmp_path / "plots.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "plots", "rules": rules}]}))
    checked("promtool", "check", "rules", file)
    rules[7]["expr"] += ")"
    file.write_text(yaml.safe_dump({"groups": [{"name": "plots", "rules": rules}]}))
    assert "parse error" in faults("promtool", "check", "rules", file)


def test_metrics_and_labels_are_those_that_nodes_tell() -> None:
    used = set()
    for expr in expressions():
        names = set(re.findall(r"\b(?:replicator|process)_\w+", expr))
        used |= names
        assert names <= METRICS.keys(), expr
        known = OF_PROMETHEUS.union(*[METRICS[name] for name in names])
        matched = re.findall(r"[{,]\s*(\w+)\s*=", expr)
        grouped = [one for part in re.findall(r"\bby \(([^)]*)\)", expr) for one in part.split(",")]
        assert {one.strip() for one in (*matched, *grouped)} <= known, expr
    told = {one for one in METRICS if not one.endswith(("_sum", "_count"))}
    assert used == told, "each is plotted, or an alert speaks of it"
    targets = [target for panel in panels() for target in panel.get("targets", ())]
    legends = [target["legendFormat"] for target in targets if "legendFormat" in target]
    for legend in legends:
        assert set(re.findall(r"{{(\w+)}}", legend)) <= {"instance", "peer", "command"}


def test_panels_have_titles_and_do_not_overlap() -> None:
    taken: Counter[tuple[int, int]] = Counter()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert set(taken.values()) == {1}
    numbers = [panel["id"] for panel in panels()]
    assert len(numbers) == len(set(numbers))


def test_variables_are_those_that_expressions_use() -> None:
    board = json.loads(DASHBOARD.read_text())
    names = {one["name"] for one in board["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]\w*)", DASHBOARD.read_text())) == names


def series(values: dict[str, str]) -> list[dict[str, str]]:
    """Series as promtool wants them."""
    made = []
    for name, told in values.items():
        bare, _, labels = name.rstrip("}").partition("{")
        metric = bare if bare == "up" or bare.startswith("process_") else f"replicator_{bare}"
        node = [] if "instance=" in labels else ['instance="a"']
        text = ",".join(filter(None, ['job="replicator"', *node, labels]))
        made.append({"series": f"{metric}{{{text}}}", "values": told})
    return made


def alert_test(name: str, *, fires: bool) -> dict[str, Any]:
    """One test of promtool's."""
    case, rule = CASES[name], RULES[name]
    labels = {**rule["labels"], **case.labels, "job": "replicator"}
    if case.instance:
        labels["instance"] = "a"
    told = {**rule["annotations"], "summary": case.summary}
    return {
        "name": f"{name} {'fires' if fires else 'is quiet'}",
        "interval": "1m",
        "input_series": series(case.fires if fires else case.quiet),
        "alert_rule_test": [
            {
                "eval_time": f"{case.at}m",
                "alertname": name,
                "exp_alerts": [{"exp_labels": labels, "exp_annotations": told}] if fires else [],
            }
        ],
    }


def alert_tests(directory: Path, names: list[str], **changes: Any) -> Path:
    """A file of tests: firing and quiet for each of the alerts."""
    slow = any(CASES[name].at > 60 for name in names)
    everything = {
        "rule_files": [str(ALERTS)],
        # A day at every minute takes promtool ten seconds.
        "evaluation_interval": "10m" if slow else "1m",
        "tests": [
            {**alert_test(name, fires=fires), **changes}
            for name in names
            for fires in (True, False)
        ],
    }
    file = directory / f"{len(names)}.yml"
    file.write_text(yaml.safe_dump(everything))
    return file


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    assert list(CASES) == list(RULES)
    quick = [name for name in CASES if CASES[name].at <= 60]
    slow = [name for name in CASES if CASES[name].at > 60]
    checked("promtool", "test", "rules", alert_tests(tmp_path, quick))
    checked("promtool", "test", "rules", alert_tests(tmp_path, slow))
    without = alert_tests(tmp_path, quick[:5], input_series=[])
    complaint = faults("promtool", "test", "rules", without)
    assert complaint.count("alertname: Replicator") == 5


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["runbook"] == f"docs/RUNBOOK.md#{name.lower()}"
    assert rule["annotations"]["summary"] and rule["annotations"]["description"].endswith(".")
