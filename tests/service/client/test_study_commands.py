import json
from pathlib import Path

import pytest
from fastapi import FastAPI
from typer.testing import Result

from service.client import BrokenDownload, SdcnClient
from service.jobs.specs import AblationSpec, TrainSpec
from service.jobs.study_results import AblationResults, RunFound, ablation_rows
from service.predictor import Predictor
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from service.run_files.checkpoints import checkpoint_name
from tests.service.api.studies import JUDGEMENT, begin_run, end_run, leave
from tests.service.api.test_jobs import RESULTS, start
from tests.service.client.test_cli import Sdcn, sdcn

__all__ = ["sdcn"]  # the fixture


@pytest.fixture
def study(client: SdcnClient) -> str:
    return client.submit(AblationSpec(study="oicr-against-sdcn", preset="tiny")).id


def results(*, sdcn_ap: float = 0.75) -> AblationResults:
    def run(variant: str, mean_ap: float) -> RunFound:
        judged = JUDGEMENT.model_copy(update={"mean_ap": mean_ap})
        return RunFound(name=variant, variant=variant, seed=0, overrides={}, state="succeeded", judgement=judged)

    runs = (run("oicr", 0.5), run("sdcn", sdcn_ap))
    rows = ablation_rows({"oicr": "OICR", "sdcn": "SDCN"}, "oicr", runs)
    return AblationResults(base_variant="oicr", seeds=(0,), runs=runs, rows=rows)


def test_watching_a_study_tells_of_its_runs_and_ends_with_its_table(
    sdcn: Sdcn, jobs: JobQueue, study: str, tmp_path: Path
) -> None:
    end_run(begin_run(tmp_path, study, "oicr"))
    jobs.settle(start(jobs), Settlement.succeeded(results().model_dump(mode="json")))
    done = sdcn("watch", study)
    assert done.exit_code == 0
    assert "oicr: succeeded  mAP 50.0" in done.stdout
    row = next(line for line in done.stdout.splitlines() if "SDCN" in line)
    assert "75.0" in row
    assert "+25.0" in row


def test_runs_are_listed(sdcn: Sdcn, study: str, tmp_path: Path) -> None:
    begin_run(tmp_path, study, "oicr")
    listed = sdcn("runs", study).stdout
    assert any("oicr" in line and "50% loop" in line for line in listed.splitlines())
    assert [run["name"] for run in json.loads(sdcn("runs", study, "--json").stdout)] == ["oicr", "sdcn"]


def test_a_table_is_printed_as_it_was_written(sdcn: Sdcn, study: str, tmp_path: Path) -> None:
    early = sdcn("table", study)
    assert (early.exit_code, "There is no such table" in early.output) == (2, True)
    leave(tmp_path / "runs" / study, table_md=b"| a |\n", table_csv=b"a,b\n")
    assert sdcn("table", study).stdout == "| a |\n"
    assert sdcn("table", study, "--format", "csv").stdout == "a,b\n"


def test_files_are_listed_and_fetched(sdcn: Sdcn, study: str, tmp_path: Path) -> None:
    assert "no files yet" in sdcn("artifacts", study).stdout
    leave(tmp_path / "runs" / study, report_html=b"report", table_md=b"table")
    assert "report.html" in sdcn("artifacts", study).stdout
    here = tmp_path / "here"
    assert sdcn("artifacts", study, "--fetch", str(here), "--name", "report.html").exit_code == 0
    assert [path.name for path in here.iterdir()] == ["report.html"]
    assert (here / "report.html").read_bytes() == b"report"


def test_a_file_that_changed_on_the_way_is_not_kept(client: SdcnClient, study: str, tmp_path: Path) -> None:
    leave(tmp_path / "runs" / study, table_md=b"one")
    (listed,) = client.artifacts(study)
    leave(tmp_path / "runs" / study, table_md=b"two")
    (tmp_path / "here").mkdir()
    with pytest.raises(BrokenDownload, match="fetch it again"):
        client.fetch(listed, tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []


def test_a_file_cannot_be_fetched_to_somewhere_else(client: SdcnClient, study: str, tmp_path: Path) -> None:
    leave(tmp_path / "runs" / study, table_md=b"one")
    (listed,) = client.artifacts(study)
    for name in ("../evil", "/tmp/evil", ".hidden"):
        with pytest.raises(BrokenDownload):
            client.fetch(listed.model_copy(update={"name": name}), tmp_path)


@pytest.fixture
def model(client: SdcnClient, jobs: JobQueue, tmp_path: Path) -> str:
    job_id = client.submit(TrainSpec(preset="tiny")).id
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    leave(tmp_path / "runs" / job_id, model_pt=b"weights")
    return job_id


def test_models_are_listed_and_evaluated(sdcn: Sdcn, client: SdcnClient, model: str) -> None:
    assert any(model in line and "50.0" in line for line in sdcn("models").stdout.splitlines())
    assert sdcn("evaluate", model, "--split", "val", "--set", "evaluation.flip=false").exit_code == 0
    spec = client.get(next(client.jobs(kind="evaluate")).id).spec
    assert (spec["model"], spec["ap_split"], spec["overrides"]) == (model, "val", {"evaluation.flip": False})


def test_a_checkpoint_is_evaluated_by_its_step(sdcn: Sdcn, client: SdcnClient, model: str, tmp_path: Path) -> None:
    (tmp_path / "runs" / model / checkpoint_name(8)).mkdir()
    for asked in ("8", "newest"):
        assert sdcn("evaluate", model, "--checkpoint", asked).exit_code == 0
    assert {client.get(job.id).spec["checkpoint"] for job in client.jobs(kind="evaluate")} == {8, "newest"}
    assert "keeps those of 8" in " ".join(sdcn("evaluate", model, "--checkpoint", "7").output.split())


def test_a_second_stage_is_queued_on_a_model(sdcn: Sdcn, client: SdcnClient, model: str) -> None:
    assert sdcn("second-stage", model, "--set", "second_stage.steps=9", "--workers", "2").exit_code == 0
    assert sdcn("second-stage", model, "--labels-only", "--name", "boxes").exit_code == 0
    labels, whole = (client.get(job.id) for job in client.jobs(kind="second_stage"))
    assert (whole.spec["model"], whole.spec["train"], whole.spec["resources"]["num_workers"]) == (model, True, 2)
    assert whole.spec["experiment"]["second_stage"]["steps"] == 9
    assert (labels.spec["train"], labels.name) == (False, "boxes")


def test_an_evaluation_of_nothing_ends_with_two(sdcn: Sdcn, model: str) -> None:
    done: Result = sdcn("evaluate", "ffff")
    assert done.exit_code == 2
    assert model in done.output


def test_a_folder_is_predicted_as_a_job(sdcn: Sdcn, client: SdcnClient, model: str) -> None:
    assert sdcn("predict", model, "--folder", "photos", "--threshold", "0.5", "--fast").exit_code == 0
    spec = client.get(next(client.jobs(kind="predict")).id).spec
    assert (spec["folder"], spec["score_threshold"], spec["fast"]) == ("photos", 0.5, True)


@pytest.mark.parametrize("arguments", [(), ("a.png", "--folder", "photos")])
def test_images_or_a_folder_are_predicted_not_both(sdcn: Sdcn, arguments: tuple[str, ...]) -> None:
    done = sdcn("predict", "abc", *arguments)
    assert (done.exit_code, "--folder" in done.output) == (2, True)


def test_an_image_that_is_not_there_is_named(sdcn: Sdcn, model: str) -> None:
    done = sdcn("predict", model, "nowhere.png")
    assert done.exit_code == 2
    assert "nowhere.png" in done.output


def test_without_a_predictor_the_command_says_how_to_start_one(
    sdcn: Sdcn, app: FastAPI, model: str, tmp_path: Path
) -> None:
    app.state.predictor = Predictor(None, None, 1)
    (tmp_path / "a.png").write_bytes(b"x")
    done = sdcn("predict", model, str(tmp_path / "a.png"))
    assert done.exit_code == 3
    assert "sdcn up" in done.output
