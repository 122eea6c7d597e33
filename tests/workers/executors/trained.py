"""A job beside a model that some training has left, untrained as it is."""

from collections.abc import Callable
from pathlib import Path

import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.presets import PRESETS
from sdcn_core.data.scenes import SCENE_CLASSES
from sdcn_core.models.saved import save_model
from sdcn_core.models.sdcn import SDCN
from service.jobs.specs import JobSpec
from workers.executors.base import JobContext

ContextOf = Callable[[JobSpec], JobContext]


def trained_experiment() -> ExperimentConfig:
    """As small as scenes can be."""
    few = {f"data.source.{split}_images": 6 for split in ("train", "val", "test")}
    return PRESETS["tiny"]().with_overrides({**few, "data.source.image_size_px": 48})


def write_model(path: Path) -> None:
    """The file that a training of that experiment leaves."""
    experiment = trained_experiment()
    torch.manual_seed(0)
    sdcn = SDCN(experiment.model, len(SCENE_CLASSES), segmentation_branch=True, weights_root=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, experiment=experiment, classes=SCENE_CLASSES, weights=sdcn.state_dict())
