"""The networks of a run: the detector, SDCN's opponent f^C, and the label head with which f^E learns to see."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from torch import Tensor, nn

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.models.adversarial_classifier import AdversarialClassifier, build_classifier
from sdcn_core.models.build_network import build_network
from sdcn_core.models.detection_network import DetectionNetwork
from sdcn_core.models.fast_rcnn import FastRCNN
from sdcn_core.models.image_classifier import ImageClassifier
from sdcn_core.models.sdcn import SDCN
from sdcn_core.training.seeding import key_of

Weights = Mapping[str, Mapping[str, Tensor]]
"""Parameters and buffers by part (`Part`, as plain text) and name."""


class Part(StrEnum):
    """What stages train and states hold, piece by piece."""

    BACKBONE = "backbone"
    """f^E"""
    LABEL_HEAD = "label_head"
    DETECTION = "detection"
    """f^D"""
    SEGMENTATION = "segmentation"
    """f^S"""
    CLASSIFIER = "classifier"
    """f^C"""


@dataclass(frozen=True)
class Networks:
    detector: DetectionNetwork
    """SDCN, or the Fast R-CNN of a second stage"""
    label_head: ImageClassifier
    """shares its backbone with the detector"""
    classifier: AdversarialClassifier | None
    """None without a segmentation branch"""

    @property
    def sdcn(self) -> SDCN:
        """The detector of any run but a second stage's."""
        assert isinstance(self.detector, SDCN)
        return self.detector

    @property
    def fast_rcnn(self) -> FastRCNN:
        """The detector of a second stage."""
        assert isinstance(self.detector, FastRCNN)
        return self.detector

    @classmethod
    def build(cls, experiment: ExperimentConfig, num_classes: int, weights_root: Path | None) -> "Networks":
        """All networks, initialized from the experiment's seed or from the weights that it names.

        Each network draws from a seed of its own, and the detector draws f^E first. So f^E, the label head and f^C
        begin the same with any branch beside them, and experiments that differ in the branches can share their label
        stages.

        Raises:
            WeightsError: weights are named that cannot be had.
        """

        def seed(network: str) -> None:
            torch.manual_seed(key_of(experiment.seed, "initialization", network))

        branch = experiment.objective.segmentation_branch
        seed("sdcn")
        detector = build_network(experiment, num_classes, weights_root=weights_root)
        seed("classifier")
        classifier = (
            build_classifier(experiment.model.classifier, num_classes, weights_root=weights_root) if branch else None
        )
        seed("label_head")
        return cls(detector, ImageClassifier(detector.backbone, num_classes), classifier)

    def to(self, device: torch.device) -> None:
        for module in self._modules():
            module.to(device)

    def train(self, mode: bool) -> None:
        for module in self._modules():
            module.train(mode)

    def forget_gradients(self) -> None:
        """No parameter holds a gradient, whether it learns or not."""
        for module in self._modules():
            module.zero_grad(set_to_none=True)

    def freeze_norms(self) -> None:
        """Batch norms stop learning, for good: from stage apart on batches are too small for them, and masks would
        spoil their statistics.
        """
        self.detector.backbone.freeze_norm()
        if self.classifier is not None:
            self.classifier.freeze_norm()

    def weights(self, parts: Iterable[Part] | None = None) -> dict[str, dict[str, Tensor]]:
        """The weights of these parts, or of all; the networks' own tensors, not copies."""
        present = self._parts()
        return {part.value: dict(present[part].state_dict()) for part in (present if parts is None else parts)}

    def load(self, weights: Weights) -> None:
        """Take over the parts that `weights` holds; the others stay as they are."""
        present = self._parts()
        for part, values in weights.items():
            present[Part(part)].load_state_dict(values)

    def _parts(self) -> dict[Part, nn.Module]:
        parts: dict[Part, nn.Module] = {
            Part.BACKBONE: self.detector.backbone,
            Part.LABEL_HEAD: self.label_head.classify,
            Part.DETECTION: self.detector.detection,
        }
        if self.detector.segmentation is not None:
            parts[Part.SEGMENTATION] = self.detector.segmentation
        if self.classifier is not None:
            parts[Part.CLASSIFIER] = self.classifier
        return parts

    def _modules(self) -> tuple[nn.Module, ...]:
        heads = (self.detector, self.label_head.classify)
        return heads if self.classifier is None else (*heads, self.classifier)
