import pytest
import torch
from torch import Tensor

from sdcn_core.config.model import DetectionConfig, ModelConfig, Vgg16Backbone
from sdcn_core.models.sdcn import SDCN
from sdcn_core.structures.outputs import SDCNOutput

C = 3


def built(config: ModelConfig, *, segmentation_branch: bool = True) -> SDCN:
    return SDCN(config, C, segmentation_branch=segmentation_branch, weights_root=None)


def everything(output: SDCNOutput) -> Tensor:
    """A number that depends on all outputs."""
    total = torch.zeros(()) if output.map_logits is None else output.map_logits.square().sum()
    for detection in output.detections:
        total = (
            total + detection.midn_scores.square().sum() + sum(x.square().sum() for x in detection.refinement_logits)
        )
    return total


@pytest.mark.parametrize("segmentation_branch", [True, False])
def test_every_trainable_parameter_gets_a_gradient(
    small_config: ModelConfig, images: Tensor, proposals: tuple[Tensor, ...], segmentation_branch: bool
) -> None:
    model = built(small_config, segmentation_branch=segmentation_branch)
    model.backbone.freeze_norm()
    everything(model(images, proposals)).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad != (p.grad is not None)] == []


def test_gradients_are_laid_out_as_their_weights_are(
    small_config: ModelConfig, images: Tensor, proposals: tuple[Tensor, ...]
) -> None:
    model = built(small_config)
    everything(model(images, proposals)).backward()
    assert [n for n, p in model.named_parameters() if p.grad is not None and p.grad.stride() != p.stride()] == []


def test_without_the_segmentation_branch_it_is_oicr(
    small_config: ModelConfig, images: Tensor, proposals: tuple[Tensor, ...]
) -> None:
    model = built(small_config, segmentation_branch=False)
    assert model.segmentation is None
    assert model(images, proposals).map_logits is None


def test_detecting_drops_background_and_never_segments(
    small_config: ModelConfig, images: Tensor, proposals: tuple[Tensor, ...]
) -> None:
    model = built(small_config).eval()
    expected = model(images, proposals).detections
    model.segmentation = None
    found = model.detect(images, proposals)
    assert [tuple(own.scores.shape) for own in found] == [(3, C), (1, C)]
    for own, output in zip(found, expected, strict=True):
        torch.testing.assert_close(own.scores, output.detection_scores()[:, :C])
        assert not own.scores.requires_grad
        assert own.deltas is None


def test_two_networks_of_one_seed_are_equal(small_config: ModelConfig) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(built(small_config).state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_the_papers_network_has_the_papers_shapes(images: Tensor, proposals: tuple[Tensor, ...]) -> None:
    model = SDCN(ModelConfig(), 20, segmentation_branch=True, weights_root=None).eval()
    assert model.detection.features.fc6.weight.shape == (4096, 512 * 7 * 7)
    assert model.detection.features.fc7.weight.shape == (4096, 4096)
    with torch.no_grad():
        output = model(images, proposals)
    assert output.map_logits is not None
    assert output.map_logits.shape == (2, 21, 6, 5)
    assert output.detections[0].midn_scores.shape == (3, 20)
    assert [logits.shape for logits in output.detections[0].refinement_logits] == [(3, 21)] * 3
    assert torch.isfinite(everything(output))


def test_vgg16_trains_from_conv3_on(images: Tensor, proposals: tuple[Tensor, ...]) -> None:
    config = ModelConfig(backbone=Vgg16Backbone(frozen="conv2"), detection=DetectionConfig(hidden=32))
    model = built(config)
    everything(model(images, proposals)).backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None]
    assert untouched == [f"backbone.conv{b}_{i}.{kind}" for b in (1, 2) for i in (1, 2) for kind in ("weight", "bias")]
