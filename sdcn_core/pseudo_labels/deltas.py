"""How the deltas of a training set are spread, by which Fast R-CNN's regression is normalised. C classes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sdcn_core.evaluation.evaluator import ProposalSource
from sdcn_core.pseudo_labels.labels import PseudoLabels
from sdcn_core.structures.box_deltas import encode_boxes, flip_deltas
from sdcn_core.structures.boxes import box_iou

SMALLEST_STD = 1e-6
"""what lies below is rounding: all deltas are equal"""


@dataclass(frozen=True)
class DeltaStatistics:
    means: NDArray[np.float64]
    """(C, 4); 0 of a class without a foreground RoI"""
    stds: NDArray[np.float64]
    """(C, 4) > 0; 1 where deltas do not differ"""


def delta_statistics(
    labels: PseudoLabels, proposals: ProposalSource, *, foreground_iou: float, flip: bool
) -> DeltaStatistics:
    """Mean and deviation of each class's deltas over all foreground RoIs of all images: proposals and boxes themselves.

    Args:
        labels: the boxes.
        proposals: by image id.
        foreground_iou: overlap from which a RoI is foreground.
        flip: whether mirror images are trained on too; they have the same deltas but for the sign of dx.
    """
    num_classes = len(labels.classes)
    counts, sums, squares = np.zeros((num_classes, 1)), np.zeros((num_classes, 4)), np.zeros((num_classes, 4))
    for image_id, found in labels.images.items():
        if len(found) == 0:
            continue
        boxes = torch.from_numpy(found.boxes).double()
        rois = torch.cat([torch.from_numpy(proposals[image_id]).double(), boxes])
        overlap, owner = box_iou(rois, boxes).max(dim=1)
        foreground = (overlap >= foreground_iou).nonzero().flatten()
        deltas = encode_boxes(rois[foreground], boxes[owner[foreground]])
        classes = found.classes[owner[foreground].numpy()]
        for values in (deltas, flip_deltas(deltas)) if flip else (deltas,):
            np.add.at(counts, classes, 1)
            np.add.at(sums, classes, values.numpy())
            np.add.at(squares, classes, values.numpy() ** 2)
    means = sums / np.maximum(counts, 1)
    stds = np.sqrt(np.maximum(squares / np.maximum(counts, 1) - means**2, 0))
    return DeltaStatistics(means, np.where(stds > SMALLEST_STD, stds, 1.0))
