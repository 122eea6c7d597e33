"""f^C under masks. B images, M masks."""

import pytest
import torch
from torch import Tensor, nn

from sdcn_core.config.model import (
    ClassifierConfig,
    MobileNetClassifier,
    ResNet101Classifier,
    SmallResNetClassifier,
    SqueezeNetClassifier,
)
from sdcn_core.models.adversarial_classifier import AdversarialClassifier, build_classifier

CONFIGS = [
    ResNet101Classifier(),
    SmallResNetClassifier(widths=(4, 6, 8, 8, 8)),
    SqueezeNetClassifier(),
    MobileNetClassifier(),
]


@pytest.fixture(params=CONFIGS, ids=lambda c: c.kind)
def config(request: pytest.FixtureRequest) -> ClassifierConfig:
    return request.param


def built(config: ClassifierConfig) -> AdversarialClassifier:
    classifier = build_classifier(config, 3, weights_root=None)
    classifier.freeze_norm()
    return classifier


def test_masks_of_ones_leave_the_whole_image(config: ClassifierConfig, images: Tensor) -> None:
    classifier = built(config)
    whole = classifier(images)
    assert whole.shape == (2, 3)
    torch.testing.assert_close(classifier(images, torch.ones(2, 6, 5), torch.tensor([0, 1])), whole)


def test_each_mask_lies_over_its_owner(config: ClassifierConfig, images: Tensor) -> None:
    classifier, masks, owners = built(config), torch.rand(5, 6, 5), torch.tensor([1, 0, 0, 1, 0])
    together = classifier(images, masks, owners)
    assert together.shape == (5, 3)
    for m, owner in enumerate(owners):
        alone = classifier(images[owner][None], masks[m][None], torch.tensor([0]))
        torch.testing.assert_close(together[m], alone[0], rtol=1e-4, atol=1e-5)


def test_gradient_reaches_masks_and_every_trainable_parameter(config: ClassifierConfig, images: Tensor) -> None:
    classifier, masks = built(config), torch.rand(3, 6, 5, requires_grad=True)
    classifier(images, masks, torch.tensor([0, 1, 1])).square().sum().backward()
    assert masks.grad is not None
    assert (masks.grad.abs().sum(dim=(1, 2)) > 0).all()
    assert [n for n, p in classifier.named_parameters() if p.requires_grad != (p.grad is not None)] == []


def test_the_trunk_runs_once_however_many_masks_there_are(config: ClassifierConfig, images: Tensor) -> None:
    classifier, seen = built(config), []
    classifier.trunk.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    classifier(images, torch.rand(9, 6, 5), torch.arange(9) % 2)
    assert seen == [2]


def test_an_erased_image_shows_nothing_of_itself(images: Tensor) -> None:
    classifier = built(SmallResNetClassifier(widths=(4, 6, 8, 8, 8)))
    logits = classifier(images, torch.zeros(2, 6, 5), torch.tensor([0, 1]))
    torch.testing.assert_close(logits[0], logits[1])


def test_masks_without_owners_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="masks and owners come together"):
        built(CONFIGS[1])(images, torch.ones(2, 6, 5))


def test_resnet101_is_the_known_network_cut_after_layer3(images: Tensor) -> None:
    classifier = build_classifier(ResNet101Classifier(), 20, weights_root=None)
    weights = sum(p.numel() for p in classifier.parameters())
    assert weights == 44_549_160 - 2048 * 1000 - 1000 + 2048 * 20 + 20  # torchvision's count, with 20 classes for 1000
    assert classifier.trunk(images).shape == (2, 1024, 3, 3)  # stride 16
    assert torch.isfinite(classifier(images)).all()


def test_resnet101s_norms_are_frozen_from_the_start() -> None:
    classifier = build_classifier(ResNet101Classifier(), 2, weights_root=None).train()
    learning = {name for name, p in classifier.named_parameters() if p.requires_grad}
    assert not any(".norm." in name for name in learning)
    assert {"trunk.stem.conv.weight", "tail.layer4.2.unit3.conv.weight", "tail.classify.bias"} <= learning


@pytest.mark.parametrize("config", [SqueezeNetClassifier(), MobileNetClassifier()], ids=lambda c: c.kind)
def test_pretrained_small_networks_learn_after_the_mask_only(config: ClassifierConfig) -> None:
    classifier = build_classifier(config, 2, weights_root=None)
    frozen: list[nn.Parameter] = [p for p in classifier.parameters() if not p.requires_grad]
    assert len(frozen) == len(list(classifier.trunk.parameters()))
    assert all(p.requires_grad for p in classifier.tail.parameters())


def test_masks_at_another_resolution_cover_the_same_part(images: Tensor) -> None:
    classifier = built(CONFIGS[1])
    coarse = torch.tensor([[[0.0, 1.0]]])  # the right half
    at_grid = nn.functional.interpolate(coarse[None], size=(6, 5), mode="bilinear", align_corners=False)[0]
    owner = torch.tensor([0])
    torch.testing.assert_close(classifier(images, coarse, owner), classifier(images, at_grid, owner))
