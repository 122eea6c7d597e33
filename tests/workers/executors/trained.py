"""A job beside a model that some training has left, untrained as it is."""

from collections.abc import Callable
from pathlib import Path

import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.presets import PRESETS
from sdcn_core.data.scenes import SCENE_CLASSES
from sdcn_core.models.build_network import build_network
from sdcn_core.models.saved import save_model
from service.jobs.specs import JobSpec
from workers.executors.base import JobContext

ContextOf = Callable[[JobSpec], JobContext]


def trained_experiment() -> ExperimentConfig:
    """As small as scenes can be."""
    few = {f"data.source.{split}_images": 6 for split in ("train", "val", "test")}
    return PRESETS["tiny"]().with_overrides({**few, "data.source.image_size_px": 48})


def write_model(path: Path, experiment: ExperimentConfig | None = None) -> None:
    """The file that a training of that experiment leaves, or of another."""
    trained = trained_experiment() if experiment is None else experiment
    torch.manual_seed(0)
    network = build_network(trained, len(SCENE_CLASSES), weights_root=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, experiment=trained, classes=SCENE_CLASSES, weights=network.state_dict())
