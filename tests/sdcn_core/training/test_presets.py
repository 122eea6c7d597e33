"""Every preset trains two steps of each of its stages, and is judged, on a few small scenes.

Smaller than in the preset are data, images, numbers of steps and of images a step, and all networks: VGG16-D8 and
ResNet-101 are stood in for by the narrow ones with the same interfaces, which want label images of one size (that the
large ones compute what they should is shown in tests/sdcn_core/models). Weights are random. All else is the preset's.
"""

from pathlib import Path

import numpy as np
import pytest
from pydantic import JsonValue

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.methods import METHODS
from sdcn_core.config.presets import PRESETS, preset
from sdcn_core.config.studies import ABLATIONS, Variant
from sdcn_core.evaluation.predictions import load_predictions
from sdcn_core.training.plan import plan_stages
from tests.sdcn_core.training.runs import Place, run

SCENES: JsonValue = {"kind": "scenes", "train_images": 6, "val_images": 6, "test_images": 6, "image_size_px": 48}
STAND_INS: dict[str, dict[str, JsonValue]] = {
    "vgg16_d8": {"kind": "small_vgg", "widths": [8, 8, 12, 16]},
    "small_vgg": {"kind": "small_vgg", "widths": [8, 8, 12, 16]},
    "resnet101": {"kind": "small_resnet", "widths": [8, 8, 12, 12, 12]},
    "small_resnet": {"kind": "small_resnet", "widths": [8, 8, 12, 12, 12]},
}


def shrunk(experiment: ExperimentConfig) -> ExperimentConfig:
    schedule, model = experiment.schedule, experiment.model
    labels: dict[str, JsonValue] = {"images_per_step": 2, "image_size_px": 48}
    overrides: dict[str, JsonValue] = {
        "data.source": SCENES,
        "data.proposals.limit": 12,
        "data.proposals.max_image_side_px": 48,
        "data.max_side_px": 64,
        "model.backbone": STAND_INS.get(model.backbone.kind, {"kind": model.backbone.kind}),
        "model.classifier": STAND_INS.get(model.classifier.kind, {"kind": model.classifier.kind}),
        "model.detection.hidden": 16,
        "model.segmentation": {"levels": model.segmentation.levels, "channels": 16, "bottleneck": 8, "groups": 4},
        "schedule.apart_steps": min(2, schedule.apart_steps),
        "schedule.loop_steps": min(2, schedule.loop_steps),
        "schedule.decay_at_steps": [1],
        "schedule.images_per_step": 2,
        "schedule.report_every_steps": 1,
        "schedule.checkpoint_every_steps": 2,
        "evaluation.baselines": False,
    }
    for network in ("backbone", "classifier"):
        steps = min(2, getattr(schedule, network).steps)
        overrides |= {f"schedule.{network}.{name}": value for name, value in (labels | {"steps": steps}).items()}
    for field in ("data.train_scales_px", "evaluation.test_scales_px"):
        room, name = field.split(".")
        scales = getattr(getattr(experiment, room), name)
        overrides[field] = scales and [48, 64][: len(scales)]
    return experiment.with_overrides(overrides)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains_two_steps_of_every_stage_and_is_judged(name: str, tmp_path: Path, cache: Path) -> None:
    experiment = shrunk(preset(name))
    outcome, hooks = run(experiment, Place.below(tmp_path, cache))
    trained = {report.progress.stage for report in hooks.reports if report.global_step > 0}
    assert {plan.stage for plan in plan_stages(preset(name))} <= trained
    assert outcome.results is not None
    assert 0 <= outcome.results["trained"]["mean_ap"] <= 1


@pytest.mark.parametrize("variant", ABLATIONS["beyond-the-paper"]().variants, ids=lambda variant: variant.name)
def test_an_option_beyond_the_paper_trains_and_is_judged(variant: Variant, tmp_path: Path, cache: Path) -> None:
    experiment = shrunk(preset("scenes")).with_overrides(variant.overrides)
    outcome, _ = run(experiment, Place.below(tmp_path, cache))
    boxes = np.concatenate([one.boxes for one in load_predictions(outcome.files["predictions.npz"]).detections])
    are_proposals = not experiment.model.detection.box_regression
    assert bool((boxes == boxes.round()).all()) == are_proposals  # proposals end at pixels, moved boxes anywhere


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_and_reports_the_losses_that_it_has(name: str, tmp_path: Path, cache: Path) -> None:
    experiment = shrunk(preset("scenes")).with_overrides(METHODS[name]())
    _, hooks = run(experiment, Place.below(tmp_path, cache))
    reported = {loss for losses in hooks.losses().values() for loss in losses} - {
        "loss/backbone_labels",
        "loss/classifier_labels",
    }
    detection = {"loss/mil", "loss/ref"}
    branches = detection | {"loss/adv", "loss/cls", "loss/classifier"}
    assert (
        reported
        == {
            "wsddn": {"loss/mil"},
            "oicr": detection,
            "apart": branches,
            "seg-to-det": branches,
            "det-to-seg": branches | {"loss/seg"},
            "sdcn": branches | {"loss/seg"},
        }[name]
    )
