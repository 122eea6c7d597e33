import math
from pathlib import Path

import httpx
import pytest

from service.jobs.states import FailureReason
from service.jobs.ways_out import WAYS_OUT
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.studies import ABLATION, begin_run, end_run
from tests.service.api.test_jobs import start
from tests.service.run_files.spools import append, metrics


@pytest.fixture
def study(api: httpx.Client) -> str:
    return str(api.post("/v1/jobs", json=ABLATION).json()["id"])


def states(api: httpx.Client, job_id: str) -> dict[str, str]:
    return {run["name"]: run["state"] for run in api.get(f"/v1/jobs/{job_id}/runs").json()["runs"]}


def test_the_runs_of_a_study_are_known_before_they_begin(api: httpx.Client, study: str) -> None:
    assert states(api, study) == dict.fromkeys(("oicr-seed0", "sdcn-seed0", "oicr-seed1", "sdcn-seed1"), "waiting")


def test_a_run_tells_how_far_it_is(api: httpx.Client, jobs: JobQueue, study: str, tmp_path: Path) -> None:
    start(jobs)
    begin_run(tmp_path, study, "oicr-seed0")
    run = api.get(f"/v1/jobs/{study}/runs").json()["runs"][0]
    assert (run["state"], run["progress"]["stage"], run["progress"]["fraction"]) == ("running", "loop", 0.5)
    assert (run["progress"]["metrics"], run["progress"]["eta_s"]) == ({"loss/mil": 0.5}, 18.0)
    assert (run["value"], run["mean_ap"]) == (None, None)


def test_runs_end_each_in_its_own_way(api: httpx.Client, jobs: JobQueue, study: str, tmp_path: Path) -> None:
    claim = start(jobs)
    end_run(begin_run(tmp_path, study, "oicr-seed0"))
    failure = {"reason": "diverged", "message": "loss mil is nan"}
    end_run(begin_run(tmp_path, study, "sdcn-seed0"), "failed", failure=failure)
    begin_run(tmp_path, study, "oicr-seed1")
    runs = {run["name"]: run for run in api.get(f"/v1/jobs/{study}/runs").json()["runs"]}
    assert (runs["oicr-seed0"]["state"], runs["oicr-seed0"]["value"]) == ("succeeded", 0.5)
    shown = {**failure, "way_out": WAYS_OUT[FailureReason.DIVERGED]}
    assert (runs["sdcn-seed0"]["state"], runs["sdcn-seed0"]["failure"]) == ("failed", shown)
    jobs.settle(claim, Settlement.failed(FailureReason.BAD_INPUT, "enough"))
    assert [states(api, study)[name] for name in ("oicr-seed0", "oicr-seed1", "sdcn-seed1")] == [
        "succeeded",
        "unfinished",
        "unfinished",
    ]


def test_between_two_attempts_a_run_waits(api: httpx.Client, jobs: JobQueue, study: str, tmp_path: Path) -> None:
    claim = start(jobs)
    begin_run(tmp_path, study, "oicr-seed0")
    assert states(api, study)["oicr-seed0"] == "running"
    jobs.settle(claim, Settlement.retry(FailureReason.LOST_WORKER, "gone"))
    assert states(api, study)["oicr-seed0"] == "waiting"


def test_a_run_of_an_earlier_attempt_waits_until_this_one_takes_it_up(
    api: httpx.Client, jobs: JobQueue, study: str, tmp_path: Path
) -> None:
    claim = start(jobs)
    begin_run(tmp_path, study, "oicr-seed0")
    jobs.settle(claim, Settlement.released("the worker is shut down"))
    start(jobs)
    assert states(api, study)["oicr-seed0"] == "waiting"
    begin_run(tmp_path, study, "oicr-seed0", attempt=2)
    assert states(api, study)["oicr-seed0"] == "running"


def test_a_trial_that_nobody_planned_is_known_by_its_folder(api: httpx.Client, jobs: JobQueue, tmp_path: Path) -> None:
    space = {"objective.tau_0": {"kind": "uniform", "low": 0.1, "high": 0.9}}
    sweep = {"kind": "sweep", "preset": "tiny", "space": space, "search": {"kind": "random", "num_trials": 2}}
    job_id = api.post("/v1/jobs", json=sweep).json()["id"]
    assert states(api, job_id) == {}
    start(jobs)
    begin_run(tmp_path, job_id, "trial-000", variant="trial-000")
    (tmp_path / "runs" / job_id / "runs" / "broken").mkdir()
    assert states(api, job_id) == {"trial-000": "running"}


def test_a_training_has_no_runs(api: httpx.Client) -> None:
    job_id = api.post("/v1/jobs", json={"preset": "tiny"}).json()["id"]
    assert api.get(f"/v1/jobs/{job_id}/runs").json() == {"runs": []}


def test_series_come_as_steps_and_values(api: httpx.Client, study: str, tmp_path: Path) -> None:
    begin_run(tmp_path, study, "oicr-seed0")
    append(tmp_path / "runs" / study, 1, metrics(0, **{"runs/ended": 1.0, "loss/x": math.nan}))
    own = api.get(f"/v1/jobs/{study}/metrics").json()
    assert own["series"] == {
        "loss/x": {"steps": [0], "values": [None]},
        "runs/ended": {"steps": [0], "values": [1.0]},
    }
    of_run = api.get(f"/v1/jobs/{study}/metrics", params={"run": "oicr-seed0", "name": ["loss/mil", "none"]}).json()
    assert of_run == {"series": {"loss/mil": {"steps": [10], "values": [0.5]}}, "complete": True}


@pytest.mark.parametrize("run", ["none", "../../x", "..", ".shared-a", "a/b", "%2e%2e"])
@pytest.mark.parametrize("place", ["metrics", "artifacts", "artifacts/model.pt"])
def test_a_run_that_is_none_is_a_problem(api: httpx.Client, study: str, place: str, run: str) -> None:
    answer = api.get(f"/v1/jobs/{study}/{place}", params={"run": run})
    assert answer.status_code == 404
    assert answer.json()["title"] == "No such run"


def test_a_metric_parameter_that_is_unknown_is_refused(api: httpx.Client, study: str) -> None:
    assert api.get(f"/v1/jobs/{study}/metrics?rum=x").json()["errors"][0]["field"] == "rum"
