"""A pair of small networks and random batches, for tests of single steps."""

import torch
from torch import nn

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.presets import preset
from sdcn_core.structures.sample import Batch
from sdcn_core.training.networks import Networks
from sdcn_core.training.steps import Players

NUM_CLASSES = 4
SIDE_PX = 64


def small_experiment(**overrides: object) -> ExperimentConfig:
    return preset("tiny").with_overrides(overrides)  # type: ignore[arg-type]


def small_networks(experiment: ExperimentConfig) -> Networks:
    networks = Networks.build(experiment, NUM_CLASSES, None)
    networks.freeze_norms()
    return networks


def players_of(networks: Networks) -> Players:
    return Players(networks.sdcn, networks.classifier)


def random_batch(seed: int, *, images: int = 2, proposals: int = 12, labels: list[list[int]] | None = None) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    corner = torch.rand(images, proposals, 2, generator=draw) * (SIDE_PX - 10)
    size = torch.rand(images, proposals, 2, generator=draw) * (SIDE_PX - 10) + 9
    boxes = torch.cat([corner, (corner + size).clamp(max=SIDE_PX)], dim=2)
    if labels is None:
        image_labels = (torch.rand(images, NUM_CLASSES, generator=draw) < 0.4).float()
    else:
        image_labels = torch.zeros(images, NUM_CLASSES)
        for row, present in zip(image_labels, labels, strict=True):
            row[present] = 1.0
    return Batch(
        image_ids=tuple(f"image-{seed}-{index}" for index in range(images)),
        images=torch.rand(images, 3, SIDE_PX, SIDE_PX, generator=draw) * 255,
        proposals=tuple(boxes),
        image_labels=image_labels,
    )


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
