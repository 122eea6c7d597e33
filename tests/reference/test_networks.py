import numpy as np
import pytest
import torch
from torch import nn

from sdcn_core.config.model import Vgg16Backbone
from sdcn_core.models import vgg16
from sdcn_core.models.adversarial_classifier import AdversarialClassifier
from sdcn_core.models.batch_norm import BatchNorm, freeze_norms
from sdcn_core.models.midn import Midn
from sdcn_core.models.refinement import Refinement
from sdcn_core.models.resnet import Bottleneck, ResNet101Trunk
from tests.reference import networks
from tests.reference.arithmetic import Array
from tests.reference.cases import Case, every_case
from tests.reference.detection_branch import eq_5_refinement


@every_case
def test_the_midn_multiplies_a_softmax_over_proposals_with_one_over_classes(case: Case) -> None:
    classes = len(case.labels)
    midn = Midn(2 * classes, classes)
    with torch.no_grad():  # each stream passes on its half of the features
        midn.select.weight.copy_(torch.eye(2 * classes)[:classes])
        midn.classify.weight.copy_(torch.eye(2 * classes)[classes:])
    features = torch.from_numpy(np.concatenate([case.proposal_logits, case.class_logits], axis=1)).float()
    scores, twice = midn(torch.cat([features, features]), [len(features), len(features)])
    np.testing.assert_allclose(scores.detach(), case.midn, rtol=1e-4)
    np.testing.assert_array_equal(twice.detach(), scores.detach())  # the softmax stays within an image


@every_case
def test_a_refinement_is_a_softmax_over_the_classes_of_each_proposal(case: Case) -> None:
    size = len(case.labels) + 1
    refinement = Refinement(size, size - 1, 1, box_regression=False)
    with torch.no_grad():
        next(refinement.parameters()).copy_(torch.eye(size))
    (logits,) = refinement(torch.from_numpy(case.refinement_logits[0]).float())
    np.testing.assert_allclose(
        logits.softmax(dim=1).detach(), eq_5_refinement(case.refinement_logits[0]), rtol=1e-4, atol=1e-7
    )


def weights_of(module: nn.Module) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def with_random_statistics(module: nn.Module) -> nn.Module:
    """In double precision, with frozen norms that do something."""
    for part in module.double().modules():
        if isinstance(part, BatchNorm):
            for tensor in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                tensor.uniform_(0.5, 1.5)
    freeze_norms(module)
    return module


@pytest.mark.parametrize(("height", "width"), [(24, 40), (19, 21), (17, 9)])
def test_the_extractor_is_vgg16_without_pool4_and_with_conv5_dilated(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    monkeypatch.setattr(vgg16, "BLOCKS", ((2, 3), (3, 2), (4, 3, 4), (3, 4, 3), (4, 3, 2)))
    torch.manual_seed(height)
    net = vgg16.Vgg16(Vgg16Backbone(frozen="none"), weights_root=None).double()
    image = torch.rand(1, 3, height, width, dtype=torch.float64) * 255
    with torch.no_grad():
        maps, pixels = net(image), net.pixels(image)[0]
    for found, expected in zip(maps, networks.vgg16_d8(pixels.numpy(), weights_of(net)).values(), strict=True):
        assert expected.max() > 0
        np.testing.assert_allclose(found[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("is_caffes", [False, True])
@pytest.mark.parametrize(("in_channels", "stride"), [(4, 2), (4, 1), (8, 1)])
def test_a_bottleneck_is_resnets_of_either_convention(in_channels: int, stride: int, is_caffes: bool) -> None:
    torch.manual_seed(in_channels)
    block = with_random_statistics(
        Bottleneck(in_channels, 2, strides=(stride, 1) if is_caffes else (1, stride)).requires_grad_(False)
    )
    x = torch.randn(1, in_channels, 7, 6, dtype=torch.float64)
    expected = networks.bottleneck(x[0].numpy(), weights_of(block), stride=stride, is_caffes=is_caffes)
    np.testing.assert_allclose(block(x)[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(16, 18), (13, 15)])
@pytest.mark.parametrize("convention", ["torchvision", "caffe"])
def test_the_classifiers_first_pool_is_of_its_convention(convention: str, height: int, width: int) -> None:
    torch.manual_seed(width)
    trunk = ResNet101Trunk(convention, recompute_blocks=False)
    trunk.layer1 = trunk.layer2 = trunk.layer3 = nn.Sequential()
    with_random_statistics(trunk.requires_grad_(False))
    image = torch.rand(1, 3, height, width, dtype=torch.float64) * 255
    weights = weights_of(trunk)
    stem = networks.convolution(trunk.pixels(image)[0].numpy(), weights["stem.conv.weight"], None, stride=2, padding=3)
    norm = {kind: weights[f"stem.norm.{kind}"] for kind in ("weight", "bias", "running_mean", "running_var")}
    activated = networks.relu(networks.batch_norm(stem, norm))
    expected = (
        networks.max_pool(activated, 3, stride=2, padding=1)
        if convention == "torchvision"
        else networks.max_pool(activated, 3, stride=2, count_cut_off=True)
    )
    np.testing.assert_allclose(trunk(image)[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(3, 4), (9, 11), (5, 7)])
def test_a_mask_is_resized_onto_the_inner_layer_and_multiplied_in(height: int, width: int) -> None:
    classifier = AdversarialClassifier(nn.Identity(), nn.Identity())
    features = torch.randn(2, 3, height, width, dtype=torch.float64)
    masks, owners = torch.rand(3, 5, 7, dtype=torch.float64), [1, 0, 1]
    masked = classifier(features, masks, torch.tensor(owners))
    for m, owner in enumerate(owners):
        expected = features[owner].numpy() * networks.resized(masks[m].numpy(), height, width)
        np.testing.assert_allclose(masked[m], expected, rtol=1e-12)
