"""Model files with made-up weights, for tests that train nothing."""

from pathlib import Path

import torch
from torch import nn

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.model import (
    BackboneConfig,
    DetectionConfig,
    MobileNetBackbone,
    ModelConfig,
    SmallVggBackbone,
    SqueezeNetBackbone,
    Vgg16Backbone,
    WeightsFile,
)
from sdcn_core.config.presets import preset
from sdcn_core.config.second_stages import fast_rcnn
from sdcn_core.models.batch_norm import BatchNorm
from sdcn_core.models.build_network import build_network
from sdcn_core.models.detection_network import DetectionNetwork
from sdcn_core.models.fast_rcnn import FastRCNN
from sdcn_core.models.sdcn import SDCN
from tests.shared_material import shared_folder

CLASSES = ("cat", "dog", "horse", "person")
NARROW_VGG16 = ((2, 2), (4, 4), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""channels of VGG16's convolutions: its layers, holes and strides, in a thousandth of the time"""


def experiment_of(
    backbone: str = "small_vgg", *, refinements: int = 3, box_regression: bool = False, second_stage: bool = False
) -> ExperimentConfig:
    model = ModelConfig(
        backbone=_backbone(backbone),
        detection=DetectionConfig(roi_grid=3, hidden=32, refinements=refinements, box_regression=box_regression),
        segmentation={"levels": 2, "channels": 16, "bottleneck": 8, "groups": 4},
    )
    experiment = preset("tiny").with_overrides({"objective.detection_instructs_segmentation": refinements > 0})
    trained = ExperimentConfig.model_validate(experiment.model_dump() | {"model": model.model_dump()})
    return fast_rcnn(trained) if second_stage else trained


def write_model(path: Path, experiment: ExperimentConfig, *, seed: int = 0) -> Path:
    """A file as a training leaves it; heads are strong enough that proposals score differently."""
    torch.manual_seed(seed)
    root = shared_folder()
    weights_root = None if root is None else root / "weights"
    network = build_network(experiment, len(CLASSES), weights_root=weights_root)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, BatchNorm):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 2)
        for head in _heads(network):
            head.weight.normal_(0, head.in_features**-0.5)
        if isinstance(network, FastRCNN):
            network.detection.delta_means.normal_(0, 0.05)
            network.detection.delta_stds.uniform_(0.1, 0.3)
    content = {
        "experiment": experiment.model_dump(mode="json"),
        "classes": list(CLASSES),
        "weights": network.state_dict(),
    }
    torch.save(content, path)
    return path


def _heads(network: DetectionNetwork) -> tuple[nn.Linear, ...]:
    if isinstance(network, FastRCNN):
        return network.detection.classify, network.detection.regress
    assert isinstance(network, SDCN)
    refinement, midn = network.detection.refinement, network.detection.midn
    return (*refinement.heads, *refinement.box_heads, midn.select, midn.classify)  # type: ignore[arg-type]


def _backbone(kind: str) -> BackboneConfig:
    match kind:
        case "small_vgg":
            return SmallVggBackbone(widths=(8, 8, 12, 16))
        case "squeezenet1_1":
            return SqueezeNetBackbone(weights=_real_weights("squeezenet_v1.1_notop.npz"), frozen="none")
        case "mobilenet_v2":
            return MobileNetBackbone(weights=_real_weights("mobilenet_v2_1.0_224.npz"), frozen="none")
        case _:
            return Vgg16Backbone(frozen="none")


def _real_weights(file: str) -> WeightsFile | None:
    """The file where it is at hand."""
    root = shared_folder()
    return WeightsFile(path=file) if root is not None and (root / "weights" / file).is_file() else None
