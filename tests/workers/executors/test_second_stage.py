import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.errors import BadInput, WeightsError
from sdcn_core.models.fast_rcnn import FastRCNN
from sdcn_core.models.saved import load_model
from sdcn_core.pseudo_labels.labels import load_pseudo_labels
from service.jobs.base_spec import Resources
from service.jobs.results import Judgement, TrainResults
from service.jobs.second_stage_results import SecondStageResults
from service.jobs.second_stage_spec import SecondStageSpec
from tests.workers.executors.trained import ContextOf, trained_experiment
from workers.attempt_folder import RunFolder
from workers.errors import AttemptStopped
from workers.executors import second_stage as executor
from workers.executors.base import JobContext
from workers.executors.data import prepare_data
from workers.ray_runtime.one_task import TaskOrder
from workers.spool import FileEvent, MetricsEvent, ProgressEvent, SpoolReader
from workers.training.here import train_here
from workers.training.order import TrainingOrder

SHORT = {
    "second_stage.steps": 4,
    "second_stage.decay_at_steps": [],
    "schedule.backbone.steps": 2,
    "schedule.warmup_steps": 0,
    "evaluation.baselines": False,
}


def spec(**fields: object) -> SecondStageSpec:
    asked = {"model": "abc", "overrides": SHORT}
    return SecondStageSpec.model_validate(asked | fields).resolve().taught_by(trained_experiment())


def task(context: JobContext) -> TaskOrder:
    return TaskOrder(attempt=context.order, folder=context.folder.path, cpus=1, gpus=0)


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task and its training in this process."""

    def as_task(work: Any, order: Any, folder: Any, resources: Resources) -> object:
        assert resources.num_workers == 1
        return work(TaskOrder(attempt=order, folder=folder.path, cpus=1, gpus=0))

    def training(
        context: JobContext, experiment: ExperimentConfig, resources: Resources, *, pseudo_labels: Path
    ) -> TrainResults:
        order = TrainingOrder(
            experiment=experiment,
            pseudo_labels=pseudo_labels,
            run_path=context.run.path,
            attempt=context.order.attempt,
            stop=context.folder.stop,
            home=context.order.home,
            data_root=context.order.data_root,
            weights_root=context.order.weights_root,
            cpus=1,
            checkpoints_to_keep=2,
        )
        return TrainResults.model_validate(train_here(order).results)

    monkeypatch.setattr(executor, "run_as_task", as_task)
    monkeypatch.setattr(executor, "train_on_ray", training)


def leave_results(home: Path) -> Judgement:
    """What the teacher's training left beside its model."""
    judged = Judgement(
        ap={"disc": 0.25},
        mean_ap=0.25,
        corloc={"disc": 0.5},
        mean_corloc=0.5,
        num_test_images=6,
        num_train_images=6,
        seconds_per_image=0.1,
    )
    found = TrainResults(classes=("disc",), trained=judged)
    (RunFolder(home, "abc").artifacts / "results.json").write_text(found.model_dump_json())
    return judged


def test_a_student_is_trained_judged_and_shown_beside_its_teacher(context_of: ContextOf) -> None:
    context = context_of(spec())
    teacher = leave_results(context.order.home)
    done = executor.second_stage(context)
    results = SecondStageResults.model_validate(done.results)
    assert results.teacher == teacher
    assert results.student is not None
    assert results.student.trained.num_test_images == 6
    assert results.pseudo_labels.images == 6
    assert sum(results.pseudo_labels.boxes.values()) >= 6
    assert isinstance(load_model(context.run.artifacts / "model.pt").network, FastRCNN)
    assert {
        "model.pt",
        "model.onnx",
        "model.pt2",
        "model.json",
        "pseudo_labels_voc.zip",
        "pseudo_labels_coco.zip",
        "pseudo_labels.png",
        "results.json",
        "results.csv",
        "report.html",
        "gallery.jpg",
        "config.json",
    } <= done.artifacts.keys()
    assert "teacher_ap" in (context.run.artifacts / "results.csv").read_text().splitlines()[0]
    events = SpoolReader(context.folder.events).read()
    told = [event for event in events if isinstance(event, ProgressEvent)]
    assert list(dict.fromkeys(event.stage for event in told)) == [
        "data",
        "pseudo_labels",
        "backbone",
        "fast_rcnn",
        "evaluate",
    ]
    assert [event.fraction for event in told] == sorted(event.fraction for event in told)
    assert told[-1].fraction == pytest.approx(1.0)
    metrics = {
        name: value for event in events if isinstance(event, MetricsEvent) for name, value in event.values.items()
    }
    assert (metrics["teacher/mean_ap"], metrics["pseudo_labels/images"]) == (0.25, 6)
    assert {"eval/mean_ap", "loss/roi_class", "loss/roi_box"} <= metrics.keys()
    named = {event.name for event in events if isinstance(event, FileEvent)}
    assert {"pseudo_labels_voc.zip", "pseudo_labels.png", "model.onnx", "report.html"} <= named


def test_labels_alone_are_files_that_name_the_detector(context_of: ContextOf) -> None:
    context = context_of(spec(train=False))
    done = executor.second_stage(context)
    results = SecondStageResults.model_validate(done.results)
    assert (results.student, results.teacher) == (None, None)
    assert "model.pt" not in done.artifacts
    sha256 = load_model(RunFolder(context.order.home, "abc").artifacts / "model.pt").sha256
    assert results.pseudo_labels.model_sha256 == sha256
    content = json.loads(zipfile.ZipFile(done.artifacts["pseudo_labels_coco.zip"]).read("instances.json"))
    assert content["info"]["model_sha256"] == sha256
    assert len(content["annotations"]) == sum(results.pseudo_labels.boxes.values())
    told = [e.fraction for e in SpoolReader(context.folder.events).read() if isinstance(e, ProgressEvent)]
    assert told[-1] == 1.0


def test_a_search_that_was_stopped_keeps_what_it_has_found_and_goes_on(
    context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(spec())
    prepare_data(context, spec().resolved_experiment.data)
    keep = executor._Keeper.keep
    seen: list[int] = []

    def stop_after_two(keeper: Any, found: Any) -> None:
        seen.append(len(found))
        keep(keeper, found)
        if len(seen) == 3:
            context.folder.stop.touch()

    monkeypatch.setattr(executor._Keeper, "keep", stop_after_two)
    with pytest.raises(AttemptStopped, match="what is found is kept"):
        executor.find_labels(task(context))
    context.folder.stop.unlink()
    executor.find_labels(task(context))
    assert seen[:3] == [0, 1, 2]
    assert seen[3] == 2
    assert len(load_pseudo_labels(context.run.path / "pseudo_labels" / "labels.npz").images) == 6


def test_the_experiment_follows_on_the_model_where_the_job_does_not_have_it(context_of: ContextOf) -> None:
    asked = SecondStageSpec.model_validate({"model": "abc", "overrides": SHORT}).resolve()
    context = context_of(asked)
    assert executor.student_experiment(context.order, asked) == spec().resolved_experiment
    wrong = SecondStageSpec.model_validate({"model": "abc", "overrides": {"second_stage.steps": 0}})
    with pytest.raises(BadInput, match=r"overrides\.second_stage\.steps"):
        executor.student_experiment(context.order, wrong)


def test_a_model_that_is_gone_is_told(context_of: ContextOf) -> None:
    with pytest.raises(WeightsError, match="GET /v1/models"):
        executor.second_stage(context_of(spec(model="def")))
