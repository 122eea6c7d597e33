"""From an experiment to the network that it trains."""

from pathlib import Path

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.models.detection_network import DetectionNetwork
from sdcn_core.models.fast_rcnn import FastRCNN
from sdcn_core.models.sdcn import SDCN


def build_network(experiment: ExperimentConfig, num_classes: int, *, weights_root: Path | None) -> DetectionNetwork:
    """What an experiment trains, to begin with: SDCN, or the Fast R-CNN of a second stage.

    Raises:
        WeightsError: weights are named that cannot be had.
        BadInput: the parts do not fit together.
    """
    if experiment.second_stage is not None:
        return FastRCNN(experiment.model, num_classes, weights_root=weights_root)
    branch = experiment.objective.segmentation_branch
    return SDCN(experiment.model, num_classes, segmentation_branch=branch, weights_root=weights_root)
