"""docker/metrics holds together: every metric that is shown, mapped or watched is one that somebody sends."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fatoura.metrics import METRICS, Metric
from fatoura.settings import Settings
from tests.composition import ROOT, Composition

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ROOT / "docker" / "metrics"
MAPPING = yaml.safe_load((FOLDER / "statsd_mapping.yaml").read_text())
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((FOLDER / "grafana" / "fatoura.json").read_text())
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text()
SERVICES = Composition(
    {"FATOURA_RECEIVER_URL": "https://receipts.example", "FATOURA_SITE_URL": "https://sms.example"}
).services
PROFILE = {name: service for name, service in SERVICES.items() if service.profiles}

BY_NAME = {metric.prometheus: metric for metric in METRICS}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Give every PromQL expression with where it stands."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        yield variable["name"], variable["definition"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


EXPRESSIONS = list(expressions())


def used(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Give the metrics of an expression, less what a histogram adds, and the labels asked of each."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    for name, selector in re.findall(r"\b((?:fatoura|airflow)_\w+)(\{[^}]*\})?", plain):
        yield (
            re.sub(r"(_seconds)_(bucket|count|sum)$", r"\1", name),
            set(re.findall(r"(\w+)\s*[=!]", selector)),
        )


@cache
def airflow_names() -> dict[str, set[str]]:
    """Give the names that Airflow's metrics have in Prometheus, as its own list and the mapping make them."""
    import airflow

    listed = Path(airflow.__file__).parent / "_shared" / "observability" / "metrics" / "metrics_template.yaml"
    names = {}
    mapped = {rule["match"]: rule["name"] for rule in MAPPING["mappings"]}
    for metric in yaml.safe_load(listed.read_text())["metrics"]:
        sent = f"airflow.{metric['name']}"
        variables = {*metric.get("name_variables", ()), "dag_id", "task_id", "state", "pool_name"}
        names[mapped.get(sent, sent.replace(".", "_").replace("-", "_"))] = variables
    return names


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_metric_of_ours_is_mapped_with_its_labels(metric: Metric) -> None:
    (rule,) = (rule for rule in MAPPING["mappings"] if rule["match"] == metric.pattern)
    assert rule["name"] == metric.prometheus
    assert rule["match_metric_type"] == {"timer": "observer"}.get(metric.kind, metric.kind)
    assert rule.get("labels", {}) == {label: f"${at}" for at, label in enumerate(metric.labels, 1)}
    # What a process that is gone said last is not how things stand; a counter goes on counting.
    assert ("ttl" in rule) == (metric.kind == "gauge")


def test_nothing_else_of_ours_is_mapped() -> None:
    patterns = {rule["match"] for rule in MAPPING["mappings"] if rule["match"].startswith("fatoura.")}
    assert patterns == {metric.pattern for metric in METRICS}


@pytest.mark.parametrize(("place", "expression"), EXPRESSIONS)
def test_every_metric_that_is_shown_or_watched_exists_with_the_labels_asked_for(
    place: str, expression: str
) -> None:
    airflow = airflow_names()
    found = list(used(expression))
    assert found or re.search(r"\bALERTS\b|\bup\{", expression), place
    for name, labels in found:
        if name.startswith("fatoura_"):
            assert name in BY_NAME, name
            assert labels <= {*BY_NAME[name].labels, "le"}, (name, labels)
        else:
            assert name in airflow, name
            assert labels <= airflow[name], (name, labels)


@pytest.mark.parametrize(("place", "expression"), EXPRESSIONS)
def test_counters_are_shown_as_rates_and_gauges_as_they_are(place: str, expression: str) -> None:
    for name, metric in BY_NAME.items():
        at = re.search(rf"(\w+)\(\s*{name}\b", expression)
        if at is None:
            continue
        if metric.kind == "gauge":
            assert at[1] not in ("rate", "increase"), (place, name)
        elif place not in {rule["alert"] for rule in ALERTS}:
            assert at[1] in ("rate", "increase"), (place, name)


def test_every_metric_of_ours_is_shown() -> None:
    shown = {name for _, expression in EXPRESSIONS for name, _ in used(expression)}
    assert {metric.prometheus for metric in METRICS} - shown == set()


def test_panels_have_places_and_numbers_of_their_own() -> None:
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)


def test_panels_read_from_the_source_that_is_provided() -> None:
    (source,) = yaml.safe_load((FOLDER / "grafana" / "datasources.yaml").read_text())["datasources"]
    asked = {panel["datasource"]["uid"] for panel in PANELS}
    asked |= {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}
    assert asked == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    assert {"prometheus", "grafana", "statsd-exporter"} == set(PROFILE)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_it_is_and_the_page_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert f"| `{rule['alert']}` |" in DOCUMENT
    for label in re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])):
        assert label in rule["expr"]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_page_documents_each_metric(metric: Metric) -> None:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
    assert f"| `{metric.prometheus}` | {metric.kind} | {labels} | {metric.says} |" in DOCUMENT


def test_prometheus_collects_from_the_exporter_and_reads_the_rules() -> None:
    document = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in document["scrape_configs"]}
    assert targets["statsd"] == ["statsd-exporter:9102"]
    assert document["rule_files"] == ["alerts.yaml"]
    configs = {config["source"]: config["target"] for config in PROFILE["prometheus"].definition["configs"]}
    assert Path(configs["prometheus_alerts"]).parent == Path(configs["prometheus"]).parent


def test_the_exporter_listens_where_metrics_go() -> None:
    port = Settings.model_fields["statsd_port"].default
    assert f"--statsd.listen-udp=:{port}" in PROFILE["statsd-exporter"].command
    assert "ports" not in PROFILE["statsd-exporter"].definition  # anybody could send to it


def test_the_profile_s_files_are_there() -> None:
    for name, config in (
        Composition({"FATOURA_RECEIVER_URL": "x", "FATOURA_SITE_URL": "y"}).document["configs"].items()
    ):
        assert "content" in config or (ROOT / config["file"]).is_file(), name


def test_grafana_has_no_default_password_and_reads_its_secret() -> None:
    grafana = PROFILE["grafana"]
    assert grafana.environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"
    assert list(grafana.secrets) == ["grafana_password"]
    assert grafana.definition["user"] == "50000"  # who owns the secrets


@pytest.mark.parametrize("name", PROFILE)
def test_nothing_of_the_profile_can_become_root(name: str) -> None:
    assert PROFILE[name].definition["cap_drop"] == ["ALL"]
    assert PROFILE[name].definition["security_opt"] == ["no-new-privileges:true"]


def test_airflow_sends_to_the_same_place_and_only_if_there_is_one(tmp_path: Path) -> None:
    for name in Composition({"FATOURA_RECEIVER_URL": "x", "FATOURA_SITE_URL": "y"}).document["secrets"]:
        (tmp_path / name).write_text("x\n")

    def given(**more: str) -> dict[str, str]:
        done = subprocess.run(
            [str(ROOT / "docker" / "entrypoint"), "env"],
            env={"PATH": "/usr/bin:/bin", "FATOURA_SECRETS_FOLDER": str(tmp_path), **more},
            capture_output=True,
            text=True,
            check=True,
        )
        lines = (line.split("=", 1) for line in done.stdout.splitlines())
        return {name: value for name, value in lines if name.startswith("AIRFLOW__METRICS__")}

    assert given() == {}
    assert given(FATOURA_STATSD_HOST="statsd-exporter") == {
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "statsd-exporter",
        "AIRFLOW__METRICS__STATSD_PORT": "8125",
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",
    }
