"""The runs of a study as child runs of a real MLflow."""

import json
from pathlib import Path

import pytest

from service.jobs.ablation_spec import AblationSpec
from service.jobs.runs import PlannedRun
from service.jobs.states import FailureReason
from service.jobs.study_results import RunFailure, RunFound, RunState
from service.queue.records import Claim, Settlement
from service.queue.repository import JobQueue
from tests.workers.reporting.samples import ablation_results, write_artifacts
from tests.workers.tracking.judged import results, results_without_boxes
from workers.attempt_folder import RunFolder
from workers.reporting.study import write_ablation_report
from workers.spool import EventSpool, FileEvent, MetricsEvent

pytest.importorskip("mlflow")
from mlflow.entities import Run

from workers.tracking.delivery import Destination, deliver
from workers.tracking.mlflow_log import QueueJobs
from workers.tracking.tracked_run import JOB_TAG, TrackingFiles, describe

STUDY = AblationSpec(preset="tiny", study="oicr-against-sdcn", seeds=(0, 1)).resolve()


class Study:
    """An ablation's job whose runs the tests write."""

    def __init__(self, claim: Claim, home: Path, destination: Destination, queue: JobQueue) -> None:
        self.claim, self.destination, self.queue = claim, destination, queue
        self.folder = RunFolder(home, claim.job_id)
        self.planned = {run.name: run for run in STUDY.runs()}
        describe(claim, self.folder.path)

    def path(self, name: str) -> Path:
        return self.folder.path / "runs" / name

    def begin(self, name: str, *, attempt: int = 1) -> EventSpool:
        run: PlannedRun = self.planned[name]
        (self.path(name) / f"attempt-{attempt}").mkdir(parents=True)
        record = {
            "name": run.name,
            "variant": run.variant,
            "seed": run.seed,
            "overrides": dict(run.overrides),
            "experiment": run.experiment.model_dump(mode="json"),
            "created_at_ms": 1_000_000,
        }
        (self.path(name) / "run.json").write_text(json.dumps(record))
        return EventSpool(self.path(name) / f"attempt-{attempt}" / "events.jsonl")

    def end(self, name: str, state: RunState, failure: RunFailure | None = None) -> None:
        run = self.planned[name]
        found = RunFound(
            name=name, variant=run.variant, seed=run.seed, overrides=dict(run.overrides), state=state, failure=failure
        )
        (self.path(name) / "found.json").write_text(found.model_dump_json())

    def deliver(self) -> bool:
        return deliver(self.folder.path, self.destination, QueueJobs(self.queue))

    def settle(self, settlement: Settlement) -> None:
        self.queue.start(self.claim)
        self.queue.settle(self.claim, settlement)

    def parent(self) -> Run:
        run_id = self.queue.get(self.claim.job_id).tracking_run_id
        assert run_id is not None
        return self.destination.client.get_run(run_id)

    def children(self) -> dict[str, Run]:
        parent = self.parent()
        found = self.destination.client.search_runs(
            [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        )
        return {run.data.tags["sdcn.run"]: run for run in found}


@pytest.fixture
def study(queue: JobQueue, tmp_path: Path, destination: Destination) -> Study:
    queue.enqueue(STUDY, idempotency_key=None, body_digest="")
    claim = queue.claim("worker-a", lease_s=60)
    assert claim is not None
    return Study(claim, tmp_path / "home", destination, queue)


def loss(step: int) -> MetricsEvent:
    return MetricsEvent(time_ms=1_000_000 + step, global_step=step, values={"loss/mil": 1 / step})


def test_a_run_of_a_study_is_a_child_of_the_jobs_run_while_it_works(study: Study) -> None:
    study.begin("sdcn-seed1").append(loss(20))
    assert not study.deliver()
    child = study.children()["sdcn-seed1"]
    assert child.info.status == "RUNNING"
    assert child.info.run_name == "sdcn-seed1"
    assert child.data.metrics == {"loss/mil": 0.05}
    assert {name: child.data.tags[f"sdcn.{name}"] for name in ("job_id", "variant", "seed")} == {
        "job_id": study.claim.job_id,
        "variant": "sdcn",
        "seed": "1",
    }


def test_a_run_on_data_without_boxes_says_what_could_not_be_counted(study: Study) -> None:
    for name, found in (("oicr-seed0", results_without_boxes(0.4)), ("sdcn-seed0", results(0.4))):
        spool = study.begin(name)
        path = study.path(name) / "results.json"
        path.write_text(found.model_dump_json())
        spool.append(FileEvent(name="results.json", path=path))
    study.deliver()
    children = study.children()
    assert children["oicr-seed0"].data.tags["sdcn.without_boxes"] == "no boxes: AP and CorLoc cannot be counted"
    assert "sdcn.without_boxes" not in children["sdcn-seed0"].data.tags


def test_the_parameters_of_two_runs_differ_where_their_variants_do(study: Study) -> None:
    study.begin("oicr-seed0")
    study.begin("sdcn-seed0")
    study.deliver()
    runs = study.children()
    oicr, sdcn = (runs[f"{variant}-seed0"].data.params for variant in ("oicr", "sdcn"))
    assert set(oicr) == set(sdcn) == set(STUDY.resolved_experiment.flat())
    assert {name for name in oicr if oicr[name] != sdcn[name]} == set(STUDY.variants[0].overrides)
    assert json.loads(runs["oicr-seed0"].data.tags["sdcn.overrides"]) == STUDY.variants[0].overrides


def test_the_jobs_own_run_tells_what_was_asked(study: Study) -> None:
    study.deliver()
    params = study.parent().data.params
    assert params["ablation.seeds"] == "[0, 1]"
    assert json.loads(params["ablation.variants.oicr"])["objective.segmentation_branch"] is False
    assert params["objective.tau_0"] == "0.5"
    assert study.parent().data.tags["sdcn.kind"] == "ablation"


@pytest.mark.parametrize(
    ("state", "status"),
    [(RunState.SUCCEEDED, "FINISHED"), (RunState.STOPPED_EARLY, "FINISHED"), (RunState.FAILED, "FAILED")],
)
def test_a_run_is_closed_as_it_ended_though_the_job_goes_on(study: Study, state: RunState, status: str) -> None:
    study.begin("sdcn-seed0").append(loss(20))
    failure = RunFailure(reason=FailureReason.DIVERGED, message="loss/mil is nan") if state is RunState.FAILED else None
    study.end("sdcn-seed0", state, failure)
    study.deliver()
    child = study.children()["sdcn-seed0"]
    assert child.info.status == status
    assert child.data.tags["sdcn.state"] == state.value
    assert child.data.tags.get("sdcn.failure") == (None if failure is None else "diverged: loss/mil is nan")
    assert study.parent().info.status == "RUNNING"


def test_a_run_that_its_job_left_unfinished_is_killed_with_it(study: Study) -> None:
    study.begin("sdcn-seed0")
    study.begin("oicr-seed0")
    study.end("oicr-seed0", RunState.SUCCEEDED)
    study.settle(Settlement.cancelled())
    assert study.deliver()
    assert {name: run.info.status for name, run in study.children().items()} == {
        "sdcn-seed0": "KILLED",
        "oicr-seed0": "FINISHED",
    }


def test_pieces_that_runs_share_are_no_runs(study: Study) -> None:
    hidden = study.path(".shared-classifier-abc")
    hidden.mkdir(parents=True)
    (hidden / "run.json").write_text("{}")
    study.deliver()
    assert study.children() == {}


def test_a_folder_without_a_record_waits_and_a_broken_record_holds_nobody_up(study: Study) -> None:
    study.path("early").mkdir(parents=True)
    study.path("broken").mkdir()
    (study.path("broken") / "run.json").write_text("{}")
    study.begin("sdcn-seed0")
    study.deliver()
    assert set(study.children()) == {"sdcn-seed0"}


def test_a_delivery_that_was_forgotten_makes_no_second_child(study: Study) -> None:
    spool = study.begin("sdcn-seed0")
    spool.append(loss(20))
    study.deliver()
    for path in (study.folder.path, study.path("sdcn-seed0")):
        TrackingFiles(path).state.unlink()
    study.deliver()
    assert list(study.children()) == ["sdcn-seed0"]
    found = study.destination.client.search_runs(
        [study.parent().info.experiment_id], f"tags.`{JOB_TAG}` = '{study.claim.job_id}'"
    )
    assert len(found) == 2, "the job's and the child"


def test_a_closed_run_is_not_read_again(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.begin("sdcn-seed0")
    study.end("sdcn-seed0", RunState.SUCCEEDED)
    study.deliver()
    monkeypatch.setattr("workers.tracking.study_runs._deliver_run", lambda *_: pytest.fail("read again"))
    assert not study.deliver()


def test_a_later_attempt_goes_on_with_the_same_child(study: Study) -> None:
    study.begin("sdcn-seed0").append(loss(20))
    study.deliver()
    (study.path("sdcn-seed0") / "attempt-2").mkdir()
    second = EventSpool(study.path("sdcn-seed0") / "attempt-2" / "events.jsonl")
    for step in (20, 40):
        second.append(loss(step))
    study.deliver()
    child = study.children()["sdcn-seed0"]
    history = study.destination.client.get_metric_history(child.info.run_id, "loss/mil")
    assert [metric.step for metric in history] == [20, 40]
    assert child.data.tags["sdcn.attempt"] == "2"


def test_a_run_that_failed_for_a_passing_reason_may_end_better_in_a_later_attempt(study: Study) -> None:
    study.begin("sdcn-seed0").append(loss(20))
    study.end("sdcn-seed0", RunState.FAILED, RunFailure(reason=FailureReason.INFRASTRUCTURE, message="no room"))
    study.deliver()
    (study.path("sdcn-seed0") / "found.json").unlink()
    (study.path("sdcn-seed0") / "attempt-2").mkdir()
    EventSpool(study.path("sdcn-seed0") / "attempt-2" / "events.jsonl").append(loss(40))
    study.deliver()
    assert study.children()["sdcn-seed0"].info.status == "RUNNING"
    study.end("sdcn-seed0", RunState.SUCCEEDED)
    study.deliver()
    child = study.children()["sdcn-seed0"]
    assert (child.info.status, child.data.tags["sdcn.failure"]) == ("FINISHED", "")


def test_a_child_that_somebody_has_deleted_holds_nobody_up(study: Study) -> None:
    spool = study.begin("oicr-seed0")
    study.deliver()
    study.destination.client.delete_run(study.children()["oicr-seed0"].info.run_id)
    spool.append(loss(20))
    study.begin("sdcn-seed0").append(loss(20))
    study.deliver()
    assert study.children()["sdcn-seed0"].data.metrics == {"loss/mil": 0.05}


def test_children_do_not_stay_open_when_somebody_has_deleted_the_jobs_run(study: Study) -> None:
    study.begin("oicr-seed0")
    study.deliver()
    study.destination.client.delete_run(study.parent().info.run_id)
    study.folder.attempt(1).path.mkdir()
    EventSpool(study.folder.attempt(1).events).append(loss(20))
    assert study.deliver()
    assert study.children()["oicr-seed0"].info.status == "KILLED"


def test_files_of_a_run_are_its_artifacts(study: Study, tmp_path: Path) -> None:
    (tmp_path / "gallery.jpg").write_text("")
    study.begin("sdcn-seed0").append(FileEvent(name="gallery.jpg", path=tmp_path / "gallery.jpg"))
    study.deliver()
    child = study.children()["sdcn-seed0"]
    assert [file.path for file in study.destination.client.list_artifacts(child.info.run_id)] == ["gallery.jpg"]


def test_a_report_has_no_links_that_mlflow_cannot_follow(study: Study, tmp_path: Path) -> None:
    results = ablation_results(STUDY)
    for run in results.runs:
        write_artifacts(study.path(run.name) / "artifacts")
    report = write_ablation_report(results, job_id=study.claim.job_id, spec=STUDY, run_path=study.folder.path)
    before = report["report.html"].read_text()
    study.folder.attempt(1).path.mkdir()
    EventSpool(study.folder.attempt(1).events).append(FileEvent(name="report.html", path=report["report.html"]))
    study.deliver()
    logged = Path(
        study.destination.client.download_artifacts(study.parent().info.run_id, "report.html", str(tmp_path))
    ).read_text()
    assert 'href="../' in before
    assert 'href="../' not in logged
    assert "gallery, detections, results, configuration" in logged, "what there is stays said"
    assert report["report.html"].read_text() == before, "in the job's folder its links work"


def test_the_table_is_the_description_of_the_jobs_run(study: Study, tmp_path: Path) -> None:
    (tmp_path / "table.md").write_text("| row | mAP |")
    study.folder.attempt(1).path.mkdir()
    EventSpool(study.folder.attempt(1).events).append(FileEvent(name="table.md", path=tmp_path / "table.md"))
    study.deliver()
    assert study.parent().data.tags["mlflow.note.content"] == "| row | mAP |"
