import re

import httpx
import pytest

from service.jobs.states import FailureReason
from service.jobs.study_results import RunFailure, RunFound, RunState, SweepResults
from service.queue.records import Settlement
from service.web.tables import sweep_tables
from tests.web.examples import Examples


def test_a_finished_ablation_shows_its_rows_with_spread_and_difference(
    browser_like: httpx.Client, examples: Examples
) -> None:
    page = browser_like.get(f"/jobs/{examples.ablation().job_id}").text
    assert "detection alone (OICR)" in page
    assert re.search(r"83\.6 <span class=\"beside\">± 0\.7</span>", page)
    assert re.search(r'better">\+12\.2 <span class="beside">± 12\.0', page)
    assert "1 seed, 1 failed" in page
    assert "paired difference to “detection alone (OICR)”" in page


def test_the_base_row_has_no_difference_to_itself(browser_like: httpx.Client, examples: Examples) -> None:
    page = browser_like.get(f"/jobs/{examples.ablation().job_id}").text
    row = page.split('<th scope="row">detection alone (OICR)')[1].split("</tr>")[0]
    assert row.count(">–</td>") == 2


def test_a_failed_run_is_told_with_its_reason(browser_like: httpx.Client, examples: Examples) -> None:
    page = browser_like.get(f"/jobs/{examples.ablation().job_id}").text
    assert "diverged: loss/adv is nan: lower the learning rate" in page


def test_the_comparison_is_the_first_picture(browser_like: httpx.Client, examples: Examples) -> None:
    page = browser_like.get(f"/jobs/{examples.ablation().job_id}").text
    shown = re.findall(r'<img src="[^"]+/([^"/]+)" alt="([^"]+)"', page)
    assert [name for name, _ in shown] == ["comparison.jpg", "gallery.jpg"]
    assert all(len(alt) > 30 for _, alt in shown)


def test_a_study_at_work_lists_all_its_runs(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.running_ablation()
    page = browser_like.get(f"/jobs/{claim.job_id}").text
    states = re.findall(r"</th>\s*<td[^>]*><span class=\"badge is-(\w+)\">", page)
    assert states == ["succeeded", "running", "waiting", "waiting"]
    assert "classifier 180/260" in page
    assert "1 of 4 runs" in page


def test_a_run_has_its_own_page_with_losses(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.running_ablation()
    run = f"/jobs/{claim.job_id}/runs/sdcn-seed0"
    page = browser_like.get(run).text
    assert 'id="chart-losses"' in page
    assert f'data-live="{run}/live"' in page
    assert browser_like.get(f"{run}/live").text.lstrip().startswith('<div id="live"')


def test_a_run_that_has_ended_shows_its_classes_and_what_sets_it_apart(
    browser_like: httpx.Client, examples: Examples
) -> None:
    page = browser_like.get(f"/jobs/{examples.ablation().job_id}/runs/oicr-seed0").text
    assert "<code>objective.segmentation_branch</code></dt><dd><code>false</code>" in page
    assert "63.4" in page
    assert "data-live=" not in page


@pytest.mark.parametrize(("reason", "goes_on"), [(FailureReason.LOST_WORKER, True), (FailureReason.DIVERGED, False)])
def test_a_run_that_another_attempt_trains_again_is_looked_at_until_then(
    browser_like: httpx.Client, examples: Examples, reason: FailureReason, goes_on: bool
) -> None:
    claim = examples.running_ablation()
    failure = RunFailure(reason=reason, message="it ended")
    found = RunFound(name="sdcn-seed0", variant="sdcn", seed=0, overrides={}, state=RunState.FAILED, failure=failure)
    folder = examples.runs / claim.job_id / "runs" / "sdcn-seed0"
    (folder / "found.json").write_text(found.model_dump_json())
    page = browser_like.get(f"/jobs/{claim.job_id}/runs/sdcn-seed0").text
    assert ("data-live=" in page, "trains it again" in page) == (goes_on, goes_on)
    examples.queue.settle(claim, Settlement.failed(FailureReason.DIVERGED, "all ended"))
    assert "data-live=" not in browser_like.get(f"/jobs/{claim.job_id}/runs/sdcn-seed0").text


def test_a_run_that_waits_has_a_page_without_series(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.running_ablation()
    page = browser_like.get(f"/jobs/{claim.job_id}/runs/sdcn-seed1")
    assert page.status_code == 200
    assert "No series yet" in page.text


@pytest.mark.parametrize("name", ["nobody", ".shared-backbone-1", "%2e%2e", "..%2f..%2fqueue.db"])
def test_a_run_nobody_planned_is_not_found(browser_like: httpx.Client, examples: Examples, name: str) -> None:
    page = browser_like.get(f"/jobs/{examples.ablation().job_id}/runs/{name}")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")


def test_a_sweep_shows_its_curves_and_trials_best_first(browser_like: httpx.Client, examples: Examples) -> None:
    page = browser_like.get(f"/jobs/{examples.sweep().job_id}").text
    assert page.count('<figure class="chart" id="chart-curve-') == 5
    best = r'<ul class="legend" aria-label="Best values">.*?best mAP</span> <b>[\d.]+ %</b> <span>at 10</span>'
    assert len(re.findall(best, page, re.DOTALL)) == 5
    values = re.findall(r'</a></th><td class="num[^"]*">([\d.]+)</td>', page)
    assert values == sorted(values, key=float, reverse=True)
    assert len(values) == 16
    assert "stopped early" in page


@pytest.mark.parametrize(("goal", "order"), [("max", ["b", "a", "d", "c"]), ("min", ["a", "b", "c", "d"])])
def test_trials_that_did_not_come_to_their_end_stand_below_those_that_did(goal: str, order: list[str]) -> None:
    found = {
        "a": (RunState.SUCCEEDED, 0.60),
        "b": (RunState.SUCCEEDED, 0.70),
        "c": (RunState.STOPPED_EARLY, 0.10),
        "d": (RunState.STOPPED_EARLY, 0.75),
        "e": (RunState.FAILED, None),
    }
    runs = [
        RunFound(name=name, variant=name, seed=0, overrides={}, state=state, value=value)
        for name, (state, value) in found.items()
    ]
    results = SweepResults.model_validate({"metric": "eval/mean_ap", "goal": goal, "best": order[0], "runs": runs})
    [table] = sweep_tables(results, "abc")
    assert [row.head for row in table.rows] == [*order, "e"]
    assert [row.head for row in table.rows if row.cells[0].tone == "best"] == [order[0]]
    assert "did not come to their end below" in table.note


def test_where_a_trial_was_lucky_with_one_seed_it_is_said_what_the_best_is() -> None:
    found = {"a-seed0": 0.9, "a-seed1": 0.1, "b-seed0": 0.7, "b-seed1": 0.7}
    runs = [
        RunFound(name=name, variant=name[0], seed=int(name[-1]), overrides={}, state=RunState.SUCCEEDED, value=value)
        for name, value in found.items()
    ]
    for best, said in (("b-seed0", True), ("a-seed0", False)):
        results = SweepResults(metric="eval/mean_ap", goal="max", best=best, runs=tuple(runs))
        [table] = sweep_tables(results, "abc")
        assert ("whose mean over seeds is the best" in table.note) is said
