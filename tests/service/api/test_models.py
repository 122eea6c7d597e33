import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.predictor import Predictor
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from service.registry import Registered, RegisteredVersion
from service.run_files.checkpoints import checkpoint_name
from service.settings import ServiceSettings
from tests.service.api.studies import ABLATION, begin_run, end_run, leave
from tests.service.api.test_jobs import RESULTS, start

PREDICTIONS = {"model": "m", "model_sha256": "0" * 64, "images": []}


class FakePredictor(ThreadingHTTPServer):
    """A predictor that says what it is told to say and remembers what it heard."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.answer: object = PREDICTIONS
        self.heard: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakePredictor

    def do_POST(self) -> None:
        body = b""
        if "content-length" in self.headers:
            body = self.rfile.read(int(self.headers["content-length"]))
        while self.headers.get("transfer-encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.server.heard.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        content = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def predictor(app: FastAPI) -> Iterator[FakePredictor]:
    """Listening, and known to the API."""
    with FakePredictor() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        app.state.predictor = Predictor(server.url, "geheim", timeout_s=120)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def model(api: httpx.Client, jobs: JobQueue, tmp_path: Path) -> str:
    """A training that left its model."""
    job_id = str(api.post("/v1/jobs", json={"preset": "tiny", "name": "mine"}).json()["id"])
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    leave(tmp_path / "runs" / job_id, model_pt=b"weights", model_onnx=b"graph")
    return job_id


@pytest.fixture
def run_model(api: httpx.Client, tmp_path: Path) -> str:
    """A study that goes on, one run of which has left its model."""
    job_id = str(api.post("/v1/jobs", json=ABLATION).json()["id"])
    folder = begin_run(tmp_path, job_id, "oicr-seed0")
    end_run(folder)
    leave(folder, model_pt=b"weights")
    return f"{job_id}/oicr-seed0"


def test_models_of_trainings_and_of_runs_are_listed(api: httpx.Client, model: str, run_model: str) -> None:
    found = {entry["id"]: entry for entry in api.get("/v1/models").json()["models"]}
    assert set(found) == {model, run_model}
    assert (found[model]["name"], found[model]["kind"], found[model]["method"]) == ("mine", "train", "sdcn")
    assert (found[model]["mean_ap"], found[model]["classes"]) == (0.5, ["car", "cat"])
    assert (found[model]["data_set"], found[model]["files"]) == ("scenes", ["model.onnx", "model.pt"])
    assert (found[run_model]["kind"], found[run_model]["run"]) == ("ablation", "oicr-seed0")
    assert api.get(f"/v1/models/{run_model}").json() == found[run_model]


def test_pages_of_models_follow_each_other(api: httpx.Client, jobs: JobQueue, tmp_path: Path) -> None:
    made = set()
    for _ in range(3):
        job_id = api.post("/v1/jobs", json={"preset": "tiny"}).json()["id"]
        jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
        leave(tmp_path / "runs" / job_id, model_pt=b"")
        made.add(job_id)
    seen, cursor = [], None
    while True:
        page = api.get("/v1/models", params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        seen += [found["id"] for found in page["models"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert (len(seen), set(seen)) == (3, made)


@pytest.mark.parametrize("state", ["failed", "stopped_early"])
def test_what_did_not_come_to_its_end_is_no_model(api: httpx.Client, tmp_path: Path, state: str) -> None:
    job_id = api.post("/v1/jobs", json=ABLATION).json()["id"]
    folder = begin_run(tmp_path, job_id, "oicr-seed0")
    end_run(folder, state)
    leave(folder, model_pt=b"")
    assert api.get("/v1/models").json()["models"] == []
    assert api.get(f"/v1/models/{job_id}/oicr-seed0").status_code == 404


@pytest.mark.parametrize("name", ["ffff", "..%2fx", "ffff/../x", "a/b/c", "%00", "ffff/"])
def test_a_model_that_is_none_is_a_problem(api: httpx.Client, model: str, name: str) -> None:
    answer = api.get(f"/v1/models/{name}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_model_says_what_it_is_registered_as(api: httpx.Client, app: FastAPI, model: str) -> None:
    known = Registered({model: RegisteredVersion("sdcn-scenes", "7", champion=True)})
    app.state.registry._ask = lambda _: known
    app.state.registry._url = "http://mlflow.test"
    wanted = {"name": "sdcn-scenes", "version": "7", "champion": True}
    assert api.get("/v1/models").json()["models"][0]["registered"] == wanted
    for name in ("champion", "sdcn-scenes@champion"):
        assert api.get(f"/v1/models/{name}").json()["id"] == model


def test_without_mlflow_there_are_models_but_no_champion(api: httpx.Client, model: str) -> None:
    assert api.get(f"/v1/models/{model}").json()["registered"] is None
    assert api.get("/v1/models/champion").status_code == 503


def test_images_are_passed_on_and_the_answer_back(api: httpx.Client, predictor: FakePredictor, run_model: str) -> None:
    answer = api.post(
        f"/v1/models/{run_model}/predict", files={"images": ("a.png", b"picture")}, params={"fast": "true"}
    )
    assert (answer.status_code, answer.json()) == (200, PREDICTIONS)
    ((path, headers, body),) = predictor.heard
    assert path == f"/predict?model={run_model.replace('/', '%2F')}&fast=true"
    assert headers["authorization"] == "Bearer geheim"
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'filename="a.png"' in body
    assert b"picture" in body


@pytest.mark.parametrize(
    ("status", "detail", "ours"), [(422, "a.png is no image", 422), (404, "gone", 404), (503, "15 are before", 503)]
)
def test_what_the_predictor_refuses_is_told_in_its_words(
    api: httpx.Client, predictor: FakePredictor, model: str, status: int, detail: str, ours: int
) -> None:
    predictor.status, predictor.answer = status, {"title": "no", "status": status, "detail": detail}
    answer = api.post(f"/v1/models/{model}/predict", files={"images": b"x"})
    assert (answer.status_code, answer.json()["detail"]) == (ours, detail)


def test_images_at_fault_are_named_by_their_place(api: httpx.Client, predictor: FakePredictor, model: str) -> None:
    at_fault = [{"field": "images.0", "message": "no image"}]
    predictor.status = 422
    predictor.answer = {"title": "no", "status": 422, "detail": "no image", "errors": at_fault}
    assert api.post(f"/v1/models/{model}/predict", files={"images": b"x"}).json()["errors"] == at_fault


@pytest.mark.parametrize(
    ("status", "said"), [(401, "SDCN_PREDICTOR_TOKEN"), (403, "SDCN_PREDICTOR_TOKEN"), (500, "its log says more")]
)
def test_a_predictor_that_fails_shows_nothing_of_its_inside(
    api: httpx.Client, predictor: FakePredictor, model: str, status: int, said: str
) -> None:
    predictor.status, predictor.answer = status, {"detail": "secret inside"}
    answer = api.post(f"/v1/models/{model}/predict", files={"images": b"x"})
    assert answer.status_code == 503
    assert said in answer.json()["detail"]
    assert "secret" not in answer.text


def test_without_a_predictor_the_way_out_is_told(api: httpx.Client, app: FastAPI, model: str) -> None:
    for url in (None, "http://127.0.0.1:1"):
        app.state.predictor = replace(app.state.predictor, url=url)
        answer = api.post(f"/v1/models/{model}/predict", files={"images": b"x"})
        assert answer.status_code == 503
        assert "python -m workers.predictor" in answer.json()["detail"]


def test_only_images_in_a_form_are_passed_on(api: httpx.Client, predictor: FakePredictor, model: str) -> None:
    assert api.post(f"/v1/models/{model}/predict", json={"images": []}).status_code == 415
    assert api.post("/v1/models/ffff/predict", files={"images": b"x"}).status_code == 404
    assert predictor.heard == []


def test_images_may_be_larger_than_other_bodies_but_not_without_end(
    api: httpx.Client, predictor: FakePredictor, model: str
) -> None:
    over_a_megabyte = api.post(f"/v1/models/{model}/predict", files={"images": b"x" * 1_100_000})
    assert over_a_megabyte.status_code == 200
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(65 * 2**20)}
    too_much = api.post(f"/v1/models/{model}/predict", content=b"x", headers=headers)
    assert too_much.status_code == 413
    assert str(64 * 2**20) in too_much.json()["detail"]


def test_a_wrong_method_is_told_the_right_one(api: httpx.Client, run_model: str) -> None:
    answer = api.delete(f"/v1/models/{run_model}")
    assert (answer.status_code, "GET" in answer.headers["Allow"]) == (405, True)


@pytest.mark.parametrize("body", [{"kind": "evaluate"}, {"kind": "predict", "folder": "photos"}])
def test_a_job_on_a_model_that_is_none_is_refused_with_those_there_are(
    api: httpx.Client, model: str, body: dict[str, str]
) -> None:
    for params in ({}, {"validate_only": "true"}):
        answer = api.post("/v1/jobs", json={**body, "model": "ffff"}, params=params)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["model"]
        assert model in answer.json()["detail"]
    assert api.post("/v1/jobs", json={**body, "model": model}).json()["name"] == f"{body['kind']}-{model}"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"ap_split": "none-such"}, "ap_split"),
        ({"source": {"kind": "scenes"}, "corloc_split": "x"}, "corloc_split"),
        ({"overrides": {"evaluation.nms_iou": 7}}, "overrides.evaluation.nms_iou"),
        ({"overrides": {"schedule.loop_steps": 7}}, "overrides.schedule.loop_steps"),
        ({"resources": {"num_workers": 2}}, "resources.num_workers"),
    ],
)
def test_an_evaluation_that_does_not_fit_its_model_names_the_field(
    api: httpx.Client, model: str, fields: dict[str, object], field: str
) -> None:
    answer = api.post("/v1/jobs", json={"kind": "evaluate", "model": model, **fields})
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]


def test_a_checkpoint_of_a_training_at_work_can_be_evaluated(api: httpx.Client, jobs: JobQueue, tmp_path: Path) -> None:
    job_id = str(api.post("/v1/jobs", json={"preset": "tiny"}).json()["id"])
    start(jobs)
    asked = {"kind": "evaluate", "model": job_id, "checkpoint": "newest"}
    early = api.post("/v1/jobs", json=asked)
    assert (early.status_code, early.json()["errors"][0]["field"]) == (422, "checkpoint")
    (tmp_path / "runs" / job_id / checkpoint_name(8)).mkdir(parents=True)
    assert api.post("/v1/jobs", json=asked).json()["spec"]["checkpoint"] == "newest"
    assert "keeps those of 8" in api.post("/v1/jobs", json={**asked, "checkpoint": 9}).json()["detail"]
    assert api.post("/v1/jobs", json={**asked, "checkpoint": "last"}).status_code == 422


class TestCheckpointsInAStore:
    @pytest.fixture
    def settings(self, settings: ServiceSettings, bucket_url: str) -> ServiceSettings:
        return settings.model_copy(update={"checkpoints_url": bucket_url})

    def test_they_are_found_by_those_who_ask_for_their_evaluation(
        self, api: httpx.Client, jobs: JobQueue, settings: ServiceSettings
    ) -> None:
        job_id = str(api.post("/v1/jobs", json={"preset": "tiny"}).json()["id"])
        start(jobs)
        asked = {"kind": "evaluate", "model": job_id, "checkpoint": "newest"}
        early = api.post("/v1/jobs", json=asked)
        assert (early.status_code, early.json()["errors"][0]["field"]) == (422, "checkpoint")
        place = settings.checkpoint_storage.of(settings.runs / job_id)
        (place / checkpoint_name(8) / "checkpoint.pt").write_bytes(b"weights")
        assert api.post("/v1/jobs", json=asked).json()["spec"]["checkpoint"] == "newest"

    def test_a_store_that_is_away_is_told_and_other_jobs_are_taken_in(
        self, api: httpx.Client, jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = str(api.post("/v1/jobs", json={"preset": "tiny"}).json()["id"])
        start(jobs)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setattr("s3fs.S3FileSystem.cachable", False)  # its clients keep the address that they began with
        answer = api.post("/v1/jobs", json={"kind": "evaluate", "model": job_id, "checkpoint": "newest"})
        assert (answer.status_code, answer.json()["title"]) == (503, "The store of checkpoints is not reachable")
        assert api.post("/v1/jobs", json={"preset": "tiny"}).status_code == 202


def test_a_checkpoint_of_a_studys_run_can_be_evaluated(api: httpx.Client, tmp_path: Path) -> None:
    job_id = str(api.post("/v1/jobs", json=ABLATION).json()["id"])
    (begin_run(tmp_path, job_id, "oicr-seed0") / "checkpoints" / checkpoint_name(8)).mkdir(parents=True)
    asked = {"kind": "evaluate", "model": f"{job_id}/oicr-seed0", "checkpoint": 8}
    assert api.post("/v1/jobs", json=asked).status_code == 202
    for no_training in (job_id, f"{job_id}/none", "ffff"):
        answer = api.post("/v1/jobs", json={**asked, "model": no_training})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "model"), no_training
