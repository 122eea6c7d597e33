"""VGG16-D8 and ResNet-101, whole: a run that was broken off ends in the same bits."""

import shutil
from pathlib import Path

import pytest
import torch

from sdcn_core.config.presets import preset
from sdcn_core.training.progress import Stage
from sdcn_core.training.stage_store import StageStore
from tests.sdcn_core.training.runs import Place, RecordingHooks, differing, run, weights

FULL_SIZE = preset("voc2007_vgg16").with_overrides(
    {
        "data.source": {
            "kind": "scenes",
            "train_images": 6,
            "val_images": 6,
            "test_images": 6,
            "image_size_px": 320,
        },
        "data.proposals.limit": 400,
        "data.sampled_proposals": 300,
        "data.train_scales_px": None,
        "model.backbone.weights": None,
        "model.classifier.weights": None,
        "schedule.classifier.steps": 0,
        "schedule.apart_steps": 0,
        "schedule.loop_steps": 4,
        "schedule.decay_at_steps": [3],
        "schedule.images_per_step": 1,
        "schedule.learning_rate": 1e-5,  # from random weights; at 1e-3 the losses run away
        "schedule.classifier_learning_rate": 1e-5,
        "schedule.report_every_steps": 1,
        "evaluation.baselines": False,
    }
)


def loop(base: Path, cache: Path, *, stop_at_step: int | None = None, checkpoint: Path | None = None) -> RecordingHooks:
    """Stage loop alone; nothing is judged."""
    _, hooks = run(
        FULL_SIZE,
        Place.below(base, cache),
        stop_at_step=stop_at_step,
        checkpoint=checkpoint,
        stages=StageStore(base / "states"),
        until=Stage.LOOP,
    )
    shutil.rmtree(base / "states", ignore_errors=True)
    return hooks


def ended(base: Path, hooks: RecordingHooks) -> dict[str, torch.Tensor]:
    """The weights of all networks at the end; the run's folder, a gigabyte, goes."""
    found = weights(FULL_SIZE, hooks)
    shutil.rmtree(base)
    return found


@pytest.mark.integration
def test_four_steps_of_the_paper_s_networks_end_in_the_bits_of_two_steps_and_two_resumed(
    tmp_path: Path, cache: Path
) -> None:
    whole = loop(tmp_path / "whole", cache)
    unbroken = ended(tmp_path / "whole", whole)
    first = loop(tmp_path / "first", cache, stop_at_step=1)  # noticed at the next report
    assert first.reports[-1].global_step == 2
    second = loop(tmp_path / "second", cache, checkpoint=first.checkpoint)
    shutil.rmtree(tmp_path / "first")
    resumed = ended(tmp_path / "second", second)
    assert {
        "backbone.conv5_3.weight",
        "detection.features.fc6.weight",
        "classifier.trunk.layer3.22.unit3.conv.weight",
    } <= (unbroken.keys())
    assert differing(unbroken, resumed) == []
    assert whole.losses() == first.losses() | second.losses()
