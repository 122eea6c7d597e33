"""Photograph MLflow's own pages for the documentation: `python -m tests.web.take_mlflow_pictures URL [FOLDER]`.

URL: of an MLflow in which the studies table-2 and figure-5 have ended. What is on the pictures is named in
docs/studies.md.
"""

import argparse
import json
import re
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.web.browser import chromium

FOLDER = Path("docs/pictures")
WINDOW = (1400, 820)
CHART_S = 20
"""Charts have no sign that they are drawn; MLflow takes 5 to 9 s for a page of them on two cores."""
TIMEOUT_MS = 60_000


class Runs:
    """What MLflow has, by its own REST.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        asked = {"experiment_ids": [self.experiment()], "max_results": 1000}
        found = httpx.post(f"{self.url}/api/2.0/mlflow/runs/search", json=asked, timeout=60).raise_for_status().json()
        self.names = {run["info"]["run_id"]: run["info"]["run_name"] for run in found["runs"]}
        self.parents = {
            run["info"]["run_id"]: tag["value"]
            for run in found["runs"]
            for tag in run["data"]["tags"]
            if tag["key"] == "mlflow.parentRunId"
        }

    def experiment(self) -> str:
        asked = {"experiment_name": "sdcn"}
        found = httpx.get(f"{self.url}/api/2.0/mlflow/experiments/get-by-name", params=asked, timeout=60)
        return str(found.raise_for_status().json()["experiment"]["experiment_id"])

    def study(self, name: str) -> str:
        """The run of the study of this name that has most trainings."""
        studies = [run for run, title in self.names.items() if title.startswith(name) and run not in self.parents]
        return max(studies, key=lambda run: len(self.children(run)))

    def children(self, study: str) -> list[str]:
        return [run for run, parent in self.parents.items() if parent == study]

    def page(self, path: str) -> str:
        return f"{self.url}/#/{path}{'&' if '?' in path else '?'}workflowType=machine_learning"


def table(page: Page, runs: Runs) -> None:
    """All runs, those of table-2 unfolded below it, with mAP and CorLoc."""
    open_runs(page, runs)
    page.get_by_role("button", name="Columns").click()
    for column in ("Dataset", "Source", "Models"):
        tick(page, re.compile(f"^{column}$"))
    search = page.get_by_placeholder("Search columns")
    for column in ("eval/mean_ap", "eval/mean_corloc"):
        search.fill(column)
        expect(page.locator("[class*=tree-treenode]").filter(has_text=column)).to_have_count(1, timeout=TIMEOUT_MS)
        tick(page, column)
    page.keyboard.press("Escape")
    unfold(page, runs)


def charts(page: Page, runs: Runs) -> None:
    """The losses of table-2's runs, drawn by MLflow."""
    open_runs(page, runs, "compareRunsMode=CHART")
    unfold(page, runs)
    page.get_by_placeholder("Search metric charts").fill("loss/")
    page.wait_for_timeout(CHART_S * 1000)


def curves(page: Page, runs: Runs) -> None:
    """The curves of figure-5 as MLflow shows a run's metrics."""
    page.goto(runs.page(f"experiments/{runs.experiment()}/runs/{runs.study('figure-5')}/model-metrics"))
    close_assistant(page)
    page.get_by_placeholder("Search metric charts").fill("curve/")
    page.wait_for_timeout(CHART_S * 1000)


def compare(page: Page, runs: Runs) -> None:
    """Two runs of table-2 beside each other: the parameters in which they differ, and their metrics."""
    by_name = {runs.names[run]: run for run in runs.children(runs.study("table-2"))}
    ids = [next(run for name, run in sorted(by_name.items()) if word in name) for word in ("oicr", "sdcn")]
    chosen = f"compare-runs?runs={json.dumps(ids)}&experiments={json.dumps([runs.experiment()])}"
    page.goto(runs.page(chosen))
    close_assistant(page)
    page.get_by_text("Visualizations").click()  # folds them
    page.get_by_text("Show diff only").first.click()
    page.wait_for_timeout(2000)


def artifact(page: Page, runs: Runs) -> None:
    """table-2's page of images without and with collaboration, among its artifacts."""
    page.goto(runs.page(f"experiments/{runs.experiment()}/runs/{runs.study('table-2')}/artifacts/comparison.jpg"))
    close_assistant(page)
    expect(page.locator("img[src^='blob:']").first).to_be_visible(timeout=TIMEOUT_MS)
    page.wait_for_timeout(2000)


def unfold(page: Page, runs: Runs) -> None:
    """Show the runs of table-2 below it."""
    row = page.locator("[role=row]").filter(has_text=runs.names[runs.study("table-2")])
    row.locator("button[class*=icon-only]").first.click()
    page.wait_for_timeout(2000)


def open_runs(page: Page, runs: Runs, more: str = "") -> None:
    page.goto(runs.page(f"experiments/{runs.experiment()}/runs?{more}"))
    close_assistant(page)
    expect(page.get_by_text("matching runs")).to_be_visible(timeout=TIMEOUT_MS)


def close_assistant(page: Page) -> None:
    """MLflow opens a panel beside the first page that somebody sees."""
    panel = page.get_by_role("button", name="Close")
    try:
        panel.first.click(timeout=8000)
    except Exception:  # it does so once
        return


def tick(page: Page, column: str | re.Pattern[str]) -> None:
    row = page.locator("[class*=tree-treenode]").filter(has_text=column).last
    row.locator("span[class*=checkbox]").first.click()


PICTURES = {"table": table, "charts": charts, "curves": curves, "compare": compare, "artifact": artifact}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--only", choices=PICTURES)
    arguments = parser.parse_args()
    runs = Runs(arguments.url)
    width, height = WINDOW
    with chromium() as browser:
        for name, show in PICTURES.items():
            if arguments.only in (None, name):
                page = browser.new_page(viewport={"width": width, "height": height})
                page.set_default_timeout(TIMEOUT_MS)
                show(page, runs)
                kind = "jpg" if show is artifact else "png"  # photographs
                page.screenshot(path=arguments.folder / f"mlflow-{name}.{kind}")
                page.close()


if __name__ == "__main__":
    main()
