from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.jobs.results import TrainResults
from service.jobs.second_stage_results import PseudoLabelsFound, SecondStageResults
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.studies import leave
from tests.service.api.test_jobs import RESULTS, start
from tests.web.predictors import attach_predictor

FOUND = PseudoLabelsFound(model_sha256="0" * 64, images=3, without_boxes=1, boxes={"disc": 2})


@pytest.fixture
def model(api: httpx.Client, jobs: JobQueue, tmp_path: Path) -> str:
    """A training that left its model."""
    job_id = str(api.post("/v1/jobs", json={"preset": "tiny", "name": "mine"}).json()["id"])
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    leave(tmp_path / "runs" / job_id, model_pt=b"weights")
    return job_id


def results(model: str, *, trained: bool = True) -> dict[str, object]:
    student = TrainResults.model_validate(RESULTS)
    found = SecondStageResults(
        model=model,
        classes=student.classes,
        pseudo_labels=FOUND,
        teacher=student.trained,
        student=student if trained else None,
    )
    return found.model_dump(mode="json")


def test_it_is_queued_with_the_experiment_that_follows_on_the_model(api: httpx.Client, model: str) -> None:
    asked = {"kind": "second_stage", "model": model, "overrides": {"second_stage.steps": 9}}
    checked = api.post("/v1/jobs", json=asked, params={"validate_only": "true"}).json()
    assert (checked["total_steps"], checked["runs"]) == (4 + 9, 1)
    job = api.post("/v1/jobs", json=asked).json()
    assert (job["kind"], job["name"]) == ("second_stage", f"second-stage-{model}")
    assert job["spec"]["experiment"]["second_stage"]["steps"] == 9
    assert job["spec"]["experiment"]["objective"]["segmentation_branch"] is False


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": "ffff"}, "model"),
        ({"overrides": {"second_stage.steps": 0}}, "overrides.second_stage.steps"),
        ({"overrides": {"second_stage.labels.boxes": 2}}, "overrides.second_stage.labels.boxes"),
        ({"train": "perhaps"}, "train"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_field(
    api: httpx.Client, model: str, fields: dict[str, object], field: str
) -> None:
    answer = api.post("/v1/jobs", json={"kind": "second_stage", "model": model, **fields})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_its_model_is_one_like_any_other_and_may_teach_again(
    app: FastAPI, api: httpx.Client, jobs: JobQueue, model: str, tmp_path: Path
) -> None:
    job_id = str(api.post("/v1/jobs", json={"kind": "second_stage", "model": model}).json()["id"])
    jobs.settle(start(jobs), Settlement.succeeded(results(model)))
    leave(tmp_path / "runs" / job_id, model_pt=b"weights")
    read = api.get(f"/v1/models/{job_id}").json()
    assert (read["method"], read["kind"], read["mean_ap"]) == ("fast_rcnn", "second_stage", 0.5)
    assert [one["id"] for one in api.get("/v1/models").json()["models"]] == [job_id, model]
    assert api.get(f"/v1/jobs/{job_id}/results").json()["pseudo_labels"]["boxes"] == {"disc": 2}
    for asked in ({"kind": "evaluate"}, {"kind": "predict", "folder": "photos"}, {"kind": "second_stage"}):
        assert api.post("/v1/jobs", json={**asked, "model": job_id}).status_code == 202
    attach_predictor(app)
    predicted = api.post(f"/v1/models/{job_id}/predict", files={"images": ("a.png", b"an image", "image/png")})
    assert predicted.json()["model"] == job_id
    assert [job["id"] for job in api.get("/v1/jobs", params={"kind": "second_stage"}).json()["jobs"]][-1] == job_id


def test_labels_alone_are_no_model(api: httpx.Client, jobs: JobQueue, model: str, tmp_path: Path) -> None:
    asked = {"kind": "second_stage", "model": model, "train": False}
    job_id = str(api.post("/v1/jobs", json=asked).json()["id"])
    jobs.settle(start(jobs), Settlement.succeeded(results(model, trained=False)))
    leave(tmp_path / "runs" / job_id, pseudo_labels_voc_zip=b"zip")
    assert api.get(f"/v1/models/{job_id}").status_code == 404


def test_a_second_stage_is_not_submitted_as_a_training(api: httpx.Client, model: str) -> None:
    job = api.post("/v1/jobs", json={"kind": "second_stage", "model": model}).json()
    answer = api.post("/v1/jobs", json={"kind": "train", "experiment": job["spec"]["experiment"]})
    assert answer.status_code == 422
    assert "kind second_stage" in answer.json()["detail"]
