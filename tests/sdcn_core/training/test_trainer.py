import math
from pathlib import Path

import pytest
import torch

from sdcn_core.errors import CheckpointError, TrainingDiverged
from sdcn_core.training.progress import Stage
from tests.sdcn_core.training.runs import Place, RecordingHooks, differing, run, run_on_two_ranks, weights
from tests.sdcn_core.training.small import small_experiment

LONG = {
    "schedule.backbone.steps": 6,
    "schedule.classifier.steps": 6,
    "schedule.apart_steps": 14,
    "schedule.loop_steps": 14,
    "schedule.decay_at_steps": [5],
    "schedule.report_every_steps": 1,
    "evaluation.baselines": False,
    "evaluation.flip": False,
}


def test_a_run_goes_through_all_stages_and_ends_with_results_picture_and_model(tmp_path: Path, cache: Path) -> None:
    outcome, hooks = run(small_experiment(), Place.below(tmp_path, cache))
    stages = [report.progress.stage for report in hooks.reports]
    assert list(dict.fromkeys(stages)) == [
        Stage.EVALUATE,
        Stage.BACKBONE,
        Stage.CLASSIFIER,
        Stage.APART,
        Stage.LOOP,
    ]
    assert stages[-1] is Stage.EVALUATE
    assert outcome.results is not None
    assert {"trained", "untrained", "chance", "classes"} == outcome.results.keys()
    assert outcome.files.keys() == {
        "detections.png",
        "gallery.jpg",
        "precision_recall.json",
        "error_modes.json",
        "predictions.npz",
        "model.pt",
    }
    assert all(path.stat().st_size > 1000 for path in outcome.files.values())


def test_progress_never_falls_and_ends_at_one(tmp_path: Path, cache: Path) -> None:
    _, hooks = run(small_experiment(), Place.below(tmp_path, cache))
    fractions = [report.progress.fraction for report in hooks.reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("stop_at_step", [3, 20, 26, 33], ids=["backbone", "apart", "end of apart", "loop"])
def test_a_stopped_and_resumed_run_ends_in_the_same_bits_as_an_unbroken_one(
    tmp_path: Path, cache: Path, stop_at_step: int
) -> None:
    experiment = small_experiment(**LONG, **{"model.detection.dropout": 0.5})
    _, unbroken = run(experiment, Place.below(tmp_path / "unbroken", cache))
    broken_off, first = run(experiment, Place.below(tmp_path / "broken", cache), stop_at_step=stop_at_step)
    assert broken_off.stopped
    finished, second = run(experiment, Place.below(tmp_path / "resumed", cache), checkpoint=first.checkpoint)
    assert not finished.stopped
    assert differing(weights(experiment, unbroken), weights(experiment, second)) == []
    assert unbroken.losses() == first.losses() | second.losses()


@pytest.mark.integration
@pytest.mark.parametrize(
    "stages",
    [
        {"schedule.backbone.steps": 20, "schedule.classifier.steps": 20, "schedule.apart_steps": 1},
        {"schedule.apart_steps": 10, "schedule.loop_steps": 10},
    ],
    ids=["image labels", "both players"],
)
def test_two_ranks_see_the_losses_that_one_rank_sees_with_twice_the_batch(
    tmp_path: Path, cache: Path, stages: dict[str, int]
) -> None:
    # By SGD: Adam makes whole steps of rounding where a gradient is nearly zero, and hides a gradient that is twice
    # what it should be.
    none = {f"schedule.{stage}": 0 for stage in ("backbone.steps", "classifier.steps", "apart_steps", "loop_steps")}
    sgd = {f"schedule.{stage}optimizer": "sgd" for stage in ("backbone.", "classifier.", "")}
    experiment = small_experiment(**(LONG | none | sgd | stages))
    _, one = run(experiment, Place.below(tmp_path / "one", cache))
    two = run_on_two_ranks(experiment, Place.below(tmp_path / "two", cache))
    assert two.keys() == one.losses().keys()
    for step, losses in one.losses().items():
        assert two[step] == pytest.approx(losses, rel=1e-5, abs=1e-7), f"step {step}"


def test_a_loss_that_is_not_finite_ends_the_run_with_its_name_and_step(tmp_path: Path, cache: Path) -> None:
    steep = {"schedule.learning_rate": 1.0, "objective.lambda_adv": 1000}
    experiment = small_experiment(**LONG, **steep)
    diverging = experiment.with_overrides({"schedule.clip_norm": None, "schedule.optimizer": "sgd"})
    with pytest.raises(TrainingDiverged, match=r"loss/\w+ is (nan|inf) at step \d+ .*lower schedule\.learning_rate"):
        run(diverging, Place.below(tmp_path, cache))


def test_wsddn_trains_without_refinements(tmp_path: Path, cache: Path) -> None:
    experiment = small_experiment(
        **{
            "model.detection.refinements": 0,
            "objective.segmentation_branch": False,
            "objective.segmentation_instructs_detection": False,
            "objective.detection_instructs_segmentation": False,
        }
    )
    outcome, hooks = run(experiment, Place.below(tmp_path, cache))
    assert outcome.results is not None
    assert "loss/ref" not in hooks.losses()[max(hooks.losses())]


def test_a_checkpoint_of_other_classes_is_refused(tmp_path: Path, cache: Path) -> None:
    experiment = small_experiment()
    _, hooks = run(experiment, Place.below(tmp_path / "first", cache), stop_at_step=4)
    assert hooks.checkpoint is not None
    path = hooks.checkpoint / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    torch.save(content | {"classes": ["one", "two"]}, path)
    with pytest.raises(CheckpointError, match="knows the classes"):
        run(experiment, Place.below(tmp_path / "second", cache), checkpoint=hooks.checkpoint)


def test_evaluation_in_the_middle_does_not_change_the_training(tmp_path: Path, cache: Path) -> None:
    plain = small_experiment(**LONG)
    watched = plain.with_overrides({"evaluation.every_steps": 5})
    _, unwatched_hooks = run(plain, Place.below(tmp_path / "plain", cache))
    _, watched_hooks = run(watched, Place.below(tmp_path / "watched", cache))
    assert watched_hooks.losses() == unwatched_hooks.losses()
    seen = [report.metrics["eval/mean_ap"] for report in watched_hooks.reports if "eval/mean_ap" in report.metrics]
    assert len(seen) > 3
    assert all(math.isfinite(value) for value in seen)


def test_a_run_that_is_stopped_where_an_evaluation_is_due_makes_it_up_and_ends_in_the_same_bits(
    tmp_path: Path, cache: Path
) -> None:
    experiment = small_experiment(**LONG, **{"evaluation.every_steps": 5})
    _, unbroken = run(experiment, Place.below(tmp_path / "unbroken", cache))
    due = min(midway(unbroken))
    _, first = run(experiment, Place.below(tmp_path / "broken", cache), stop_at_step=due - 1)
    assert first.reports[-1].global_step == due
    _, second = run(experiment, Place.below(tmp_path / "resumed", cache), checkpoint=first.checkpoint)
    assert midway(first) | midway(second) == midway(unbroken)
    assert second.reports[0].global_step == due, "whoever decides by it is told before another step is trained"
    assert differing(weights(experiment, unbroken), weights(experiment, second)) == []


def midway(hooks: RecordingHooks) -> dict[int, float]:
    """Global step -> what an evaluation found there while the run trained."""
    return {
        report.global_step: report.metrics["eval/mean_ap"]
        for report in hooks.reports
        if "eval/mean_ap" in report.metrics and report.progress.stage is not Stage.EVALUATE
    }
