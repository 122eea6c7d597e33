"""The three networks of a run: SDCN, its opponent f^C, and the label head with which f^E learns to see."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.models.adversarial_classifier import AdversarialClassifier, build_classifier
from sdcn_core.models.image_classifier import ImageClassifier
from sdcn_core.models.sdcn import SDCN


@dataclass(frozen=True)
class Networks:
    sdcn: SDCN
    label_head: ImageClassifier
    """shares its backbone with sdcn"""
    classifier: AdversarialClassifier | None
    """None without a segmentation branch"""

    @classmethod
    def build(cls, experiment: ExperimentConfig, num_classes: int, weights_root: Path | None) -> "Networks":
        """All networks, initialized from the experiment's seed or from the weights that it names.

        Raises:
            WeightsError: weights are named that cannot be had.
        """
        torch.manual_seed(experiment.seed)
        branch = experiment.objective.segmentation_branch
        sdcn = SDCN(experiment.model, num_classes, segmentation_branch=branch, weights_root=weights_root)
        classifier = (
            build_classifier(experiment.model.classifier, num_classes, weights_root=weights_root) if branch else None
        )
        return cls(sdcn, ImageClassifier(sdcn.backbone, num_classes), classifier)

    def to(self, device: torch.device) -> None:
        for module in self._modules().values():
            module.to(device)

    def train(self, mode: bool) -> None:
        for module in self._modules().values():
            module.train(mode)

    def freeze_norms(self) -> None:
        """Batch norms stop learning, for good: from stage apart on batches are too small for them, and masks would
        spoil their statistics.
        """
        self.sdcn.backbone.freeze_norm()
        if self.classifier is not None:
            self.classifier.freeze_norm()

    def state(self) -> dict[str, dict[str, Tensor]]:
        return {name: module.state_dict() for name, module in self._modules().items()}

    def load(self, state: dict[str, dict[str, Tensor]]) -> None:
        for name, module in self._modules().items():
            module.load_state_dict(state[name])

    def _modules(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {"sdcn": self.sdcn, "label_head": self.label_head.classify}
        if self.classifier is not None:
            modules["classifier"] = self.classifier
        return modules
