import json
import math
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.second_stages import fast_rcnn
from sdcn_core.data.scenes import SCENE_CLASSES
from sdcn_core.errors import BadInput, DatasetError, WeightsError
from sdcn_core.training.checkpoint import Checkpoint, save_checkpoint
from sdcn_core.training.networks import Networks
from service.checkpoint_storage import move_in
from service.jobs.inference_specs import EvaluateSpec
from service.jobs.study_results import EvaluateResults
from service.run_files.checkpoints import checkpoint_name
from tests.sdcn_core.data.voc_folders import an_object, write_voc
from tests.workers.executors.trained import ContextOf, trained_experiment, write_model
from workers.attempt_folder import RunFolder
from workers.errors import AttemptStopped
from workers.executors.base import JobContext
from workers.executors.evaluate import (
    evaluate,
    judge_model,
    judged_experiment,
    prepare_judged_data,
    take_checkpoint,
)
from workers.ray_runtime.one_task import TaskOrder
from workers.spool import FileEvent, MetricsEvent, ProgressEvent, SpoolReader

CLASSES = ("disc", "ring")


def spec(**fields: object) -> EvaluateSpec:
    return EvaluateSpec.model_validate({"model": "abc", **fields}).resolve()


@pytest.fixture
def context(context_of: ContextOf) -> JobContext:
    return context_of(spec())


def task(context: JobContext) -> TaskOrder:
    return TaskOrder(attempt=context.order, folder=context.folder.path, cpus=1, gpus=0)


def test_a_model_is_judged_with_everything_that_a_training_leaves(context: JobContext) -> None:
    model = trained_experiment()
    prepare_judged_data(context, model.data, SCENE_CLASSES)
    results = judge_model(task(context))
    assert isinstance(results, EvaluateResults)
    assert (results.ap_split, results.corloc_split, results.classes) == ("test", "train", SCENE_CLASSES)
    assert results.judgement.num_test_images == 6
    assert results.judgement.error_modes is not None
    left = {path.name for path in context.run.artifacts.iterdir()}
    assert {"detections.png", "gallery.jpg", "precision_recall.json", "error_modes.json", "predictions.npz"} <= left


def test_what_it_does_is_told_in_the_spool(context: JobContext) -> None:
    prepare_judged_data(context, trained_experiment().data, SCENE_CLASSES)
    results = judge_model(task(context))
    events = SpoolReader(context.folder.events).read()
    fractions = [event.fraction for event in events if isinstance(event, ProgressEvent)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    (metrics,) = [event for event in events if isinstance(event, MetricsEvent)]
    assert metrics.values["eval/mean_ap"] == results.judgement.mean_ap
    assert all(map(math.isfinite, metrics.values.values()))
    assert "gallery.jpg" in [event.name for event in events if isinstance(event, FileEvent)]


def test_other_splits_and_settings_are_judged_when_asked_for() -> None:
    asked = spec(ap_split="val", corloc_split="trainval", overrides={"evaluation.nms_iou": 0.5})
    judged = judged_experiment(asked, trained_experiment())
    source = judged.data.source
    assert (source.test_split, source.train_split, judged.evaluation.nms_iou) == ("val", "trainval", 0.5)


@pytest.mark.parametrize("corloc_split", [None, "train", "val", "trainval", "test"])
@pytest.mark.parametrize("ap_split", [None, "train", "val", "trainval", "test"])
def test_each_split_may_be_judged_in_either_role(ap_split: str | None, corloc_split: str | None) -> None:
    asked = spec(ap_split=ap_split, corloc_split=corloc_split, overrides={"evaluation.flip": False})
    source = judged_experiment(asked, trained_experiment()).data.source
    assert (source.test_split, source.train_split) == (ap_split or "test", corloc_split or "train")


def test_ap_is_counted_on_what_the_model_has_learnt_from_when_asked_for(context_of: ContextOf) -> None:
    context = context_of(asked := spec(ap_split="train"))
    prepare_judged_data(context, judged_experiment(asked, trained_experiment()).data, SCENE_CLASSES)
    results = judge_model(task(context))
    assert isinstance(results, EvaluateResults)
    assert (results.ap_split, results.corloc_split) == ("train", "train")
    assert (results.judgement.num_test_images, results.judgement.num_train_images) == (6, 6)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ap_split": "none-such"}, "ap_split: 'none-such' is no such split of scenes"),
        ({"corloc_split": "none-such"}, "corloc_split"),
        ({"overrides": {"evaluation.nms_iou": 2}}, "overrides.evaluation.nms_iou"),
    ],
)
def test_what_does_not_fit_is_named(fields: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        judged_experiment(spec(**fields), trained_experiment())


def test_a_model_is_not_judged_on_other_classes(context: JobContext) -> None:
    with pytest.raises(DatasetError, match="the model knows disc, ring"):
        prepare_judged_data(context, trained_experiment().data, CLASSES)


def test_a_model_that_is_gone_is_told(context_of: ContextOf) -> None:
    with pytest.raises(WeightsError, match=r"abc/oicr.*GET /v1/models"):
        evaluate(context_of(spec(model="abc/oicr")))


def test_a_stop_is_heeded_between_images(context: JobContext) -> None:
    prepare_judged_data(context, trained_experiment().data, SCENE_CLASSES)
    context.folder.stop.touch()
    with pytest.raises(AttemptStopped):
        judge_model(task(context))


def test_the_model_of_a_studys_run_is_found(context_of: ContextOf, tmp_path: Path) -> None:
    write_model(tmp_path / "runs" / "abc" / "runs" / "oicr-seed0" / "artifacts" / "model.pt")
    context = context_of(spec(model="abc/oicr-seed0"))
    prepare_judged_data(context, trained_experiment().data, SCENE_CLASSES)
    assert judge_model(task(context)).model == "abc/oicr-seed0"


def test_a_fast_rcnn_is_judged_as_any_model_is(context_of: ContextOf, tmp_path: Path) -> None:
    student = fast_rcnn(trained_experiment())
    write_model(tmp_path / "runs" / "def" / "artifacts" / "model.pt", student)
    context = context_of(asked := spec(model="def", overrides={"evaluation.flip": True}))
    prepare_judged_data(context, judged_experiment(asked, student).data, SCENE_CLASSES)
    results = judge_model(task(context))
    assert results.judgement.num_test_images == 6
    assert results.judgement.error_modes is not None
    assert {"detections.png", "predictions.npz"} <= {path.name for path in context.run.artifacts.iterdir()}


def leave_checkpoint(run: RunFolder, step: int, experiment: ExperimentConfig) -> None:
    """What a training of the experiment has left by that step: a checkpoint, no model."""
    networks = Networks.build(experiment, len(SCENE_CLASSES), None)
    checkpoint = Checkpoint(experiment.digest(), list(SCENE_CLASSES), step, 0, networks.weights(), {}, None)
    save_checkpoint(checkpoint, run.path / checkpoint_name(step))
    run.artifacts.mkdir()
    (run.artifacts / "config.json").write_text(experiment.model_dump_json())


@pytest.mark.parametrize("experiment", [trained_experiment(), fast_rcnn(trained_experiment())], ids=["sdcn", "second"])
def test_a_checkpoint_is_judged_of_a_training_that_left_no_model(
    context_of: ContextOf, tmp_path: Path, experiment: ExperimentConfig
) -> None:
    leave_checkpoint(RunFolder(tmp_path, "def"), 6, experiment)
    context = context_of(spec(model="def", checkpoint="newest"))
    assert take_checkpoint(context, context.order.spec) == 6
    shutil.rmtree(tmp_path / "runs" / "def")  # the training at work removes old checkpoints
    prepare_judged_data(context, trained_experiment().data, SCENE_CLASSES)
    assert judge_model(task(context)).judgement.num_test_images == 6


def test_a_checkpoint_in_a_store_is_judged_like_one_on_disk(
    context_of: ContextOf, tmp_path: Path, bucket_url: str
) -> None:
    experiment = trained_experiment()
    leave_checkpoint(RunFolder(tmp_path, "def"), 6, experiment)
    context = context_of(spec(model="def", checkpoint="newest"))
    context = replace(context, order=context.order.model_copy(update={"checkpoints_url": bucket_url}))
    with pytest.raises(BadInput, match="keeps no checkpoint"):
        take_checkpoint(context, context.order.spec)
    (folder,) = (tmp_path / "runs" / "def").glob("step-*")
    move_in(folder, context.order.storage.of(tmp_path / "runs" / "def") / folder.name)
    assert take_checkpoint(context, context.order.spec) == 6
    prepare_judged_data(context, experiment.data, SCENE_CLASSES)
    assert judge_model(TaskOrder(attempt=context.order, folder=context.folder.path, cpus=1, gpus=0)).checkpoint is None


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("checkpoint.pt", "checkpoint: .* cannot be read"),
        ("config.json", "model: training def has left no config.json"),
    ],
)
def test_what_cannot_be_read_of_a_checkpoint_is_named(
    context_of: ContextOf, tmp_path: Path, broken: str, said: str
) -> None:
    leave_checkpoint(RunFolder(tmp_path, "def"), 6, trained_experiment())
    next((tmp_path / "runs" / "def").glob(f"*/{broken}")).write_bytes(b"{")
    with pytest.raises(BadInput, match=said):
        evaluate(context_of(spec(model="def", checkpoint=6)))


def test_metrics_have_the_names_of_a_trainings(context: JobContext) -> None:
    prepare_judged_data(context, trained_experiment().data, SCENE_CLASSES)
    judge_model(task(context))
    (metrics,) = [event for event in SpoolReader(context.folder.events).read() if isinstance(event, MetricsEvent)]
    assert {"eval/mean_iou", "eval/pixel_recall", "eval/heatmap_precision", "eval/ap/clover"} <= metrics.values.keys()


SERVED = {"kind": "voc", "path": "VOC2012", "train_split": "trainval", "test_split": "test"}


def write_served(data_root: Path) -> None:
    """A data set whose test split is known to a server alone: images, and no annotation file."""
    objects = [an_object(name) for name in SCENE_CLASSES]
    folder = write_voc(data_root / "VOC2012", {"a": objects, "b": objects}, classes=SCENE_CLASSES)
    write_voc(data_root / "VOC2012", {"c": [], "d": []}, split="test", classes=SCENE_CLASSES)
    for image_id in "cd":
        (folder / "Annotations" / f"{image_id}.xml").unlink()


def test_a_split_known_to_a_server_alone_has_no_ap_and_leaves_what_the_server_takes(
    context_of: ContextOf, tmp_path: Path
) -> None:
    write_served(tmp_path / "data")
    kept = {"evaluation.comp4": "VOC2012", "evaluation.coco": True}
    context = context_of(asked := spec(source=SERVED, overrides=kept))
    data = judged_experiment(asked, trained_experiment()).data
    prepare_judged_data(context, data, SCENE_CLASSES, hands_in=True)
    results = judge_model(task(context)).judgement
    assert (results.mean_ap, results.coco, results.num_test_images) == (None, None, 2)
    assert results.mean_corloc is not None
    with tarfile.open(context.run.artifacts / "comp4.tar.gz") as archive:
        assert len(archive.getnames()) == len(SCENE_CLASSES)
        assert archive.getnames()[0] == f"results/VOC2012/Main/comp4_det_test_{SCENE_CLASSES[0]}.txt"
        assert sum(member.size for member in archive) > 0
    listed = json.loads((context.run.artifacts / "detections.coco.json").read_text())
    assert {entry["image_id"] for entry in listed} == {1, 2}


def test_a_split_known_to_a_server_alone_is_not_judged_for_nothing(context_of: ContextOf, tmp_path: Path) -> None:
    write_served(tmp_path / "data")
    context = context_of(asked := spec(source=SERVED))
    data = judged_experiment(asked, trained_experiment()).data
    with pytest.raises(DatasetError, match=r"'test' has neither boxes nor labels.*evaluation\.comp4"):
        prepare_judged_data(context, data, SCENE_CLASSES)
