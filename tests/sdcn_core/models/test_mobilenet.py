import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import MobileNetBackbone, MobileNetClassifier, WeightsFile
from sdcn_core.models.adversarial_classifier import build_classifier
from sdcn_core.models.backbone import build_backbone
from sdcn_core.models.mobilenet import EarlyBlocks, LateBlocks
from sdcn_core.models.pretrained import fill_parts, npz_key, read_weights

FILE = WeightsFile(
    path="mobilenet_v2_1.0_224.npz", sha256="c664f8ac57b41ab2f83188c38d54e11f6183d70b9119725b52d762c601be6ac2"
)


def undilated(root: Path | None, *, head: bool = True) -> nn.Sequential:
    """Images -> the last map at stride 32."""
    early, late = EarlyBlocks(), LateBlocks(max_stride=32, head=head)
    fill_parts((early, late), None if root is None else FILE, root, layouts=(npz_key,))
    return nn.Sequential(early, _Last(), late, _Last())


class _Last(nn.Module):
    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        return maps[-1]


def pad_as_tensorflow(net: nn.Module) -> None:
    """ "SAME" on even sides: nothing before, one cell after."""
    for part in net.modules():
        if isinstance(part, nn.Conv2d) and part.stride == (2, 2):
            part.padding = (0, 0)
            part.register_forward_pre_hook(lambda _, args: F.pad(args[0], (0, 1, 0, 1)))


def test_tensorflows_classifier_reproduces_the_scores_on_record(shared_weights: Path, pattern: Tensor) -> None:
    record = json.loads((shared_weights / "ref_outputs.json").read_text())["mobilenet_v2"]
    net, file = undilated(shared_weights), read_weights(FILE, shared_weights)
    pad_as_tensorflow(net)
    with torch.no_grad():
        means = net(pattern).mean(dim=(2, 3))
    scores = F.linear(means, file["classifier.w"].flatten(1), file["classifier.b"])[0]
    assert means.sum().item() == pytest.approx(record["pool1280_sum"], rel=1e-6)
    assert means[0, :8].tolist() == pytest.approx(record["pool1280_0_8"], rel=1e-4, abs=1e-5)
    assert scores[:8].tolist() == pytest.approx(record["logits_0_8"], rel=1e-4, abs=1e-5)
    assert scores.argmax() == record["logits_argmax"]


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("features", ["block17", "head"])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (75, 83)])
def test_the_dilated_backbone_sees_what_the_undilated_network_sees(
    stride: int, features: str, height: int, width: int
) -> None:
    config = MobileNetBackbone.model_validate({"stride": stride, "features": features, "frozen": "none"})
    backbone, net = build_backbone(config, weights_root=None), undilated(None, head=features == "head")
    layers = [part for part in net.modules() if isinstance(part, nn.Conv2d)]
    for own, other in zip(layers, (m for m in backbone.modules() if isinstance(m, nn.Conv2d)), strict=True):
        own.load_state_dict(other.state_dict())
    images = torch.rand(1, 3, height, width) * 255
    with torch.no_grad():
        dense, coarse = backbone(images)[-1], net(images)
    every = 32 // stride  # cells of the backbone a cell of the network at stride 32
    torch.testing.assert_close(dense[:, :, ::every, ::every], coarse, rtol=1e-4, atol=1e-4)


def test_the_maps_at_stride_16_are_coarser_from_block_13_on(images: Tensor) -> None:
    backbone = build_backbone(MobileNetBackbone(stride=16, features="block17", frozen="none"), weights_root=None)
    assert [tuple(x.shape[1:]) for x in backbone(images)] == [(24, 12, 10), (32, 6, 5), (96, 3, 3), (320, 3, 3)]
    assert backbone.stride == 16


def test_the_whole_file_fills_backbone_and_classifier_alike(shared_weights: Path) -> None:
    file = read_weights(FILE, shared_weights)
    backbone = build_backbone(MobileNetBackbone(weights=FILE, frozen="all"), weights_root=shared_weights)
    classifier = build_classifier(MobileNetClassifier(weights=FILE), 3, weights_root=shared_weights)
    own, opponent = dict(backbone.named_parameters()), dict(classifier.named_parameters())
    assert len(own) == len(file) - 2  # without the 1001 classes
    for name, parameter in own.items():
        part, layer = name.split(".", 1)
        assert torch.equal(parameter, file[npz_key(layer)])
        assert torch.equal(parameter, opponent[f"{'trunk' if part == 'early' else 'tail'}.{name}"])
    assert not any(parameter.requires_grad for parameter in own.values())


def test_the_mask_enters_at_stride_8_of_the_undilated_network(images: Tensor) -> None:
    classifier = build_classifier(MobileNetClassifier(), 3, weights_root=None)
    assert classifier.trunk(images).shape == (2, 32, 6, 5)
    assert not any(part.dilation != (1, 1) for part in classifier.modules() if isinstance(part, nn.Conv2d))
