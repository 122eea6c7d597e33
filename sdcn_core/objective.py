"""The paper's total loss, assembled: what losses/, targets/ and collaboration/ compute, in which order, with which
weight.

C classes, background is index C. N proposals of one image. P present classes: the positive ones, ascending, then
background. Losses are per image and averaged over images, so that a batch of images of different sizes, or spread over
ranks, means the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from sdcn_core.collaboration.detection_heatmap import background_heatmap, detection_heatmap
from sdcn_core.collaboration.objectness_prior import objectness_prior
from sdcn_core.collaboration.segmentation_prior import apply_segmentation_prior, binarize_maps, segmentation_prior
from sdcn_core.config.loss_names import LossName
from sdcn_core.config.objective import ObjectiveConfig
from sdcn_core.losses.adversarial import classifier_loss, mask_adversarial_loss
from sdcn_core.losses.boxes import box_regression_loss
from sdcn_core.losses.mil import mil_loss
from sdcn_core.losses.pixels import pixel_label_loss
from sdcn_core.losses.presence import mask_presence_loss
from sdcn_core.losses.refinement import refinement_loss
from sdcn_core.structures.outputs import DetectionOutput
from sdcn_core.targets.instances import InstanceLabels, mine_instances
from sdcn_core.targets.pixels import mine_pixels

Losses = dict[LossName, Tensor]


@dataclass(frozen=True)
class DetectionObjective:
    """L^D, eqs. (3)-(7); with a segmentation prior L^{D<-S}, eqs. (18)-(20)."""

    config: ObjectiveConfig

    def __call__(
        self, output: DetectionOutput, proposals: Tensor, image_labels: Tensor, *, prior: Tensor | None
    ) -> Losses:
        """The unscaled terms MIL and, with refinements, REF, with box regression BOX: sums over k, the first by its own
        weight.

        Args:
            output: of f^D on one image.
            proposals: (N, 4) xyxy px, half-open.
            image_labels: (C,) 0 or 1.
            prior: D^seg (N, C) of eq. (17), or None where segmentation does not instruct.
        """
        scores = output.midn_scores
        if prior is not None:
            scores = apply_segmentation_prior(scores, prior)
        losses = {
            LossName.MIL: mil_loss(
                scores, image_labels, eps=self.config.probability_eps, reduction=self.config.mil_reduction
            )
        }
        teacher = scores.detach()  # (N, C); D^m teaches the first refinement, each refinement the next
        refinements: list[Tensor] = []
        regressions: list[Tensor] = []
        for index, logits in enumerate(output.refinement_logits):
            weight = self.config.first_refinement_weight if index == 0 else 1.0
            instances = mine_instances(
                teacher,
                proposals,
                image_labels,
                foreground_iou=self.config.foreground_iou,
                ignored_below_iou=self.config.ignored_below_iou,
            )
            normalizer = self.config.refinement_normalizer
            loss = refinement_loss(logits, instances.labels, instances.weights, normalizer=normalizer)
            refinements.append(weight * loss)
            if output.refinement_deltas:
                regressions.append(weight * self._regression(output.refinement_deltas[index], proposals, instances))
            teacher = logits.detach().softmax(dim=1)[:, :-1]
        if refinements:
            losses[LossName.REF] = torch.stack(refinements).sum()
        if regressions:
            losses[LossName.BOX] = torch.stack(regressions).sum()
        return losses

    def _regression(self, deltas: Tensor, proposals: Tensor, instances: InstanceLabels) -> Tensor:
        """Of one refinement."""
        return box_regression_loss(
            deltas,
            proposals,
            instances.labels,
            instances.weights,
            instances.seed_boxes,
            normalizer=self.config.refinement_normalizer,
        )


@dataclass(frozen=True)
class SegmentationObjective:
    """L^S, eqs. (10)-(13); with pixel labels from detections L^{S<-D}, eqs. (23)-(24)."""

    config: ObjectiveConfig

    def __call__(self, map_logits: Tensor, image_labels: Tensor, *, pixel_labels: Tensor | None) -> Losses:
        """The unscaled terms CLS and, with pixel labels, SEG. ADV needs f^C: `adversarial`.

        Args:
            map_logits: (C + 1, h, w) of one image.
            image_labels: (C,) 0 or 1.
            pixel_labels: (h, w) psi(S^det), or None where detection does not instruct.
        """
        maps = map_logits.softmax(dim=0)
        losses = {
            LossName.CLS: mask_presence_loss(
                maps, image_labels, fraction=self.config.presence_fraction, eps=self.config.probability_eps
            )
        }
        if pixel_labels is not None:
            losses[LossName.SEG] = pixel_label_loss(map_logits, pixel_labels)
        return losses

    def adversarial(self, kept_logits: Tensor, erased_logits: Tensor, image_labels: Tensor) -> Tensor:
        """ADV, the first sum of eq. (13): f^C must see in each kept region its class alone, and miss it where erased.

        Args:
            kept_logits: (P, C) f^C on the image times each present map.
            erased_logits: (P, C) f^C on the image times one minus each present map.
            image_labels: (C,) 0 or 1.
        """
        return mask_adversarial_loss(
            kept_logits, erased_logits, image_labels, reduction=self.config.adversarial_reduction
        )

    def classifier(self, whole_logits: Tensor, erased_logits: Tensor, image_labels: Tensor) -> Tensor:
        """L^C, eqs. (14)-(15): f^C must still recognize what the maps erase.

        Args:
            whole_logits: (C,) f^C on the image.
            erased_logits: (P, C) f^C on the image times one minus each present map.
            image_labels: (C,) 0 or 1.
        """
        if not self.config.classifier_sees_background_erased:
            erased_logits = erased_logits[:-1]
        return classifier_loss(whole_logits, erased_logits, image_labels, reduction=self.config.classifier_reduction)


@dataclass(frozen=True)
class SDCNObjective:
    """L of eq. (25): both branches, each instructing the other as far as the configuration closes the loop."""

    config: ObjectiveConfig
    collaborate: bool
    """False in the stage that trains the branches apart: both arrows are off whatever the configuration says"""

    @property
    def detection(self) -> DetectionObjective:
        return DetectionObjective(self.config)

    @property
    def segmentation(self) -> SegmentationObjective:
        return SegmentationObjective(self.config)

    def __call__(
        self,
        detection: DetectionOutput,
        map_logits: Tensor | None,
        proposals: Tensor,
        cells: Tensor,
        image_labels: Tensor,
        *,
        generator: torch.Generator,
    ) -> Losses:
        """The unscaled terms of one image but ADV, which needs f^C.

        Args:
            detection: of f^D.
            map_logits: (C + 1, h, w) of f^S, or None without a segmentation branch.
            proposals: (N, 4) xyxy px, half-open.
            cells: (N, 4) int64 xyxy cells of the map's grid, half-open.
            image_labels: (C,) 0 or 1.
            generator: breaks ties among pixels of equal heat.
        """
        prior = self._prior(map_logits, cells, image_labels)
        losses = self.detection(detection, proposals, image_labels, prior=prior)
        if map_logits is not None:
            pixel_labels = self._pixel_labels(detection, map_logits, cells, image_labels, generator)
            losses |= self.segmentation(map_logits, image_labels, pixel_labels=pixel_labels)
        return losses

    def weighted(self, losses: Mapping[LossName, Tensor]) -> Losses:
        """Each term times its lambda; their sum is L."""
        return {name: self.weight(name) * loss for name, loss in losses.items()}

    def weight(self, name: LossName) -> float:
        return {
            LossName.MIL: self.config.lambda_mil,
            LossName.REF: self.config.lambda_ref,
            LossName.BOX: self.config.lambda_box,
            LossName.ADV: self.config.lambda_adv,
            LossName.CLS: self.config.lambda_cls,
            LossName.SEG: self.config.lambda_seg,
            LossName.CLASSIFIER: 1.0,
        }[name]

    @torch.no_grad()
    def _prior(self, map_logits: Tensor | None, cells: Tensor, image_labels: Tensor) -> Tensor | None:
        """D^seg (N, C), eqs. (16)-(17), or what stands in for it."""
        if map_logits is None or not (self.collaborate and self.config.segmentation_instructs_detection):
            return None
        maps = map_logits.softmax(dim=0)
        match self.config.segmentation_prior:
            case "region_iou":
                masks = binarize_maps(
                    maps,
                    image_labels,
                    binarization=self.config.binarization,
                    threshold=self.config.binarization_threshold,
                )
                return segmentation_prior(
                    masks,
                    cells,
                    tau_0=self.config.tau_0,
                    region_overlap=self.config.region_overlap,
                    min_region_cells=self.config.min_region_cells,
                )
            case "ts2c":
                return objectness_prior(
                    maps,
                    cells,
                    image_labels,
                    tau_0=self.config.tau_0,
                    surrounding_scale=self.config.surrounding_scale,
                )
            case unknown:
                assert_never(unknown)

    @torch.no_grad()
    def _pixel_labels(
        self,
        detection: DetectionOutput,
        map_logits: Tensor,
        cells: Tensor,
        image_labels: Tensor,
        generator: torch.Generator,
    ) -> Tensor | None:
        """psi(S^det) (h, w), eqs. (21)-(23)."""
        if not (self.collaborate and self.config.detection_instructs_segmentation):
            return None
        height, width = map_logits.shape[1:]
        scores = detection.detection_scores()[:, :-1]
        heat = detection_heatmap(scores, cells, image_labels, height=height, width=width)
        heatmaps = torch.cat([heat, background_heatmap(heat).unsqueeze(0)])  # (C + 1, h, w)
        return mine_pixels(heatmaps, image_labels, fraction=self.config.pixel_fraction, generator=generator)


def mean_losses(losses: Iterable[Losses]) -> Losses:
    """Mean over images, term by term."""
    per_image = list(losses)
    return {name: torch.stack([terms[name] for terms in per_image]).mean() for name in per_image[0]}
