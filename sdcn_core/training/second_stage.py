"""One optimizer step of a second stage: Fast R-CNN on another detector's boxes. C classes, S RoIs that take part."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sdcn_core.config.loss_names import RoiLossName
from sdcn_core.config.schedule import Precision
from sdcn_core.config.second_stage import SecondStageConfig
from sdcn_core.losses.rois import roi_box_loss, roi_class_loss
from sdcn_core.structures.outputs import BoxOutput
from sdcn_core.structures.sample import Batch
from sdcn_core.targets.rois import RoiTargets, assign_rois
from sdcn_core.training.precision import forward_precision
from sdcn_core.training.seeding import tie_breaker
from sdcn_core.training.steps import StepKey, gradients_accumulate

RoiLosses = dict[RoiLossName, Tensor]


@dataclass(frozen=True)
class DeltaScale:
    """By which deltas are normalised, as `BoxBranch` has it."""

    means: Tensor
    """(C, 4)"""
    stds: Tensor
    """(C, 4) > 0"""

    def normalized(self, targets: RoiTargets) -> Tensor:
        """The targets' deltas (S, 4), each by its class; of background they stay 0."""
        labels = targets.labels
        foreground = (labels < len(self.means)).nonzero().flatten()
        own = labels[foreground]
        deltas = torch.zeros_like(targets.deltas)
        deltas[foreground] = (targets.deltas[foreground] - self.means[own]) / self.stds[own]
        return deltas


def box_step(
    network: nn.Module,
    batches: Sequence[Batch],
    config: SecondStageConfig,
    scale: DeltaScale,
    *,
    key: StepKey,
    precision: Precision,
) -> RoiLosses:
    """Accumulate the gradient of both losses over one step's images; returns the unscaled terms, without gradient.

    Args:
        network: FastRCNN as its surroundings wrapped it.
        batches: this rank's share of the step, with pseudo boxes.
        config: targets and losses.
        scale: of the deltas.
        key: seeds the draw of RoIs.
        precision: of the forward.
    """
    num_images = sum(map(len, batches))
    totals: RoiLosses = {}
    for index, batch in enumerate(batches):
        with gradients_accumulate(network, last=index == len(batches) - 1):
            # The boxes are RoIs themselves, so that every one has at least one RoI of its own.
            rois = tuple(torch.cat(pair) for pair in zip(batch.proposals, batch.pseudo_boxes, strict=True))
            with forward_precision(precision, batch.images.device):
                outputs: tuple[BoxOutput, ...] = network(batch.images, rois)
            losses = _losses(outputs, rois, batch, config, scale, key)
            total = losses[RoiLossName.ROI_CLASS] + config.lambda_boxes * losses[RoiLossName.ROI_BOX]
            (total / num_images).backward()
        for name, loss in losses.items():
            totals[name] = totals.get(name, torch.zeros_like(loss)) + loss.detach() / num_images
    return totals


def _losses(
    outputs: tuple[BoxOutput, ...],
    rois: tuple[Tensor, ...],
    batch: Batch,
    config: SecondStageConfig,
    scale: DeltaScale,
    key: StepKey,
) -> RoiLosses:
    """Both terms, summed over the batch's images."""
    class_losses, box_losses = [], []
    for index, image_id in enumerate(batch.image_ids):
        targets = assign_rois(
            rois[index],
            batch.pseudo_boxes[index],
            batch.pseudo_classes[index],
            num_classes=len(scale.means),
            foreground_iou=config.foreground_iou,
            background_iou=(config.background_iou_low, config.background_iou_high),
            rois_per_image=config.rois_per_image,
            foreground_fraction=config.foreground_fraction,
            generator=tie_breaker(key.seed, key.stage, key.step, image_id, rois[index].device),
        )
        output = outputs[index]
        class_losses.append(roi_class_loss(output.logits[targets.rows], targets.labels))
        deltas = scale.normalized(targets)
        box_losses.append(roi_box_loss(output.deltas[targets.rows], deltas, targets.labels, beta=config.smooth_l1_beta))
    return {RoiLossName.ROI_CLASS: torch.stack(class_losses).sum(), RoiLossName.ROI_BOX: torch.stack(box_losses).sum()}
