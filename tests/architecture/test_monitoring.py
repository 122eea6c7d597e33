"""What deploy/monitoring says of the service's figures is true of what the service tells."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from service.api.http_figures import HttpFigures
from service.api.metrics import queue_families
from service.api.worker_metrics import worker_families
from service.app import create_app
from service.jobs.states import JobState
from service.jobs.worker_figures import GpuFigures, WorkerFigures
from service.queue.figures import Ended, EndedKind, QueueFigures, SeenWorker
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
DOCUMENT = (ROOT / "docs" / "operating.md").read_text()
ALERTS = yaml.safe_load((FOLDER / "alerts.yml").read_text())
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
QUERIES = {
    f"{panel['title']}: {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULES} | QUERIES
_SELECTOR = re.compile(r"\b(sdcn_\w+|process_\w+|up)\b(?:\{([^}]*)\})?")
_SCRAPERS = {"instance", "job"}
"""labels that Prometheus adds"""


def told() -> dict[str, set[str]]:
    """The labels of every series the service tells of, by its name."""
    ended = {EndedKind("train", "succeeded", ""): Ended()}
    worker = WorkerFigures(
        attempt_memory_bytes=1,
        steps_per_second=1,
        disk_free_bytes=1,
        gpus=(GpuFigures(index=0, use=1, memory_bytes=1, memory_total_bytes=1),),
    )
    figures = QueueFigures({(JobState.QUEUED, "train"): 1}, 1.0, ended)
    http = HttpFigures(CollectorRegistry())
    http.requests.labels("/", "GET", "200").inc()
    http.latency.labels("/", "GET").observe(1)
    http.streams.labels("/").inc()
    families: list[Metric] = [*queue_families(figures), *worker_families([SeenWorker("w", 1.0, worker)])]
    for metric in (http.requests, http.latency, http.streams):
        families += metric.collect()
    series = {"sdcn_database_up": set[str](), "sdcn_disk_free_bytes": set[str]()}
    for family in families:
        for sample in (one for one in family.samples if not one.name.endswith("_created")):
            series[sample.name] = series.get(sample.name, set()) | set(sample.labels)
    return series


TOLD = told()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_figure_of_an_expression_exists_with_the_labels_it_is_asked_by(name: str) -> None:
    selectors = _SELECTOR.findall(EXPRESSIONS[name])
    assert selectors
    for metric, matchers in selectors:
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        if metric == "up" or metric.startswith("process_"):
            assert asked <= _SCRAPERS
        else:
            assert metric in TOLD, f"{metric} is nowhere told"
            assert asked <= TOLD[metric] | _SCRAPERS


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_expression_is_whole(name: str) -> None:
    expression = EXPRESSIONS[name]
    assert all(expression.count(a) == expression.count(b) for a, b in ("()", "{}", "[]"))
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        grouped = {label.strip() for label in labels.split(",")}
        known = set().union(*(TOLD.get(metric, set()) for metric, _ in _SELECTOR.findall(expression)))
        assert grouped <= known | {"le"}


def test_every_rule_says_how_bad_it_is_and_what_it_means() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) >= 8
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert {"summary", "description"} == rule["annotations"].keys()
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))


def test_every_rule_is_explained() -> None:
    assert [rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in DOCUMENT] == []


def test_every_figure_is_explained_and_no_other() -> None:
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in TOLD}
    assert {name for name in families if f"`{name}" not in DOCUMENT} == set()
    assert set(re.findall(r"`(sdcn_[a-z_]+)", DOCUMENT)) <= families


def test_every_series_is_on_the_dashboard() -> None:
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in TOLD}
    shown = {re.sub(r"_bucket$", "", metric) for query in QUERIES.values() for metric, _ in _SELECTOR.findall(query)}
    assert families - shown == set()


def test_prometheus_is_sent_to_what_answers() -> None:
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert [(FOLDER / name).exists() for name in configuration["rule_files"]] == [True]
    (scraped,) = configuration["scrape_configs"]
    (target,) = scraped["static_configs"][0]["targets"]
    service, _, port = target.partition(":")
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][service]
    assert port == "8000"
    assert service in json.loads(composed["environment"]["SDCN_ALLOWED_HOSTS"])
    app = create_app(ServiceSettings())
    assert scraped["metrics_path"] in app.openapi()["paths"]
    assert f'job="{scraped["job_name"]}"' in EXPRESSIONS["SdcnApiDown"]
