import pytest
import torch
from torch import Tensor

from sdcn_core.config.model import (
    BackboneConfig,
    MobileNetBackbone,
    SmallVggBackbone,
    SqueezeNetBackbone,
    Vgg16Backbone,
)
from sdcn_core.models.backbone import Backbone, build_backbone
from sdcn_core.models.image_classifier import ImageClassifier

CONFIGS = [
    Vgg16Backbone(frozen="none"),
    SmallVggBackbone(widths=(4, 6, 8, 10)),
    SqueezeNetBackbone(frozen="none"),
    MobileNetBackbone(frozen="none"),
]


def built(config: BackboneConfig) -> Backbone:
    return build_backbone(config, weights_root=None)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.kind)
@pytest.mark.parametrize(("height", "width"), [(48, 40), (47, 33), (9, 17)])
def test_maps_have_the_promised_channels_and_grids_rounded_up(config: BackboneConfig, height: int, width: int) -> None:
    backbone = built(config)
    maps = backbone(torch.rand(2, 3, height, width) * 255)
    assert len(maps) == 4
    for x, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert x.shape == (2, channels, -(-height // stride), -(-width // stride))
        assert torch.isfinite(x).all()
    assert backbone.stride == 8


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.kind)
def test_every_trainable_parameter_gets_a_gradient(config: BackboneConfig, images: Tensor) -> None:
    classifier = ImageClassifier(built(config), num_classes=3)
    for freeze in (False, True):
        if freeze:
            classifier.backbone.freeze_norm()
        classifier.zero_grad()
        logits = classifier(images)
        logits.square().sum().backward()
        assert logits.shape == (2, 3)
        assert [n for n, p in classifier.named_parameters() if p.requires_grad != (p.grad is not None)] == []


def test_random_weights_neither_explode_nor_vanish(images: Tensor) -> None:
    for config in CONFIGS:
        spread = built(config)(images)[-1].std()
        assert 0.01 < spread < 500, config.kind


def test_vgg16_is_the_papers_network_with_conv5_dilated() -> None:
    backbone = built(Vgg16Backbone(frozen="none"))
    assert sum(p.numel() for p in backbone.parameters()) == 14_714_688  # VGG16 without its fully connected layers
    dilated = {name for name, m in backbone.named_modules() if getattr(m, "dilation", (1, 1)) == (2, 2)}
    assert dilated == {"conv5_1", "conv5_2", "conv5_3"}


@pytest.mark.parametrize(("frozen", "first_free"), [("none", "conv1_1"), ("conv2", "conv3_1"), ("conv4", "conv5_1")])
def test_vgg16_freezes_blocks_from_the_first_on(frozen: str, first_free: str) -> None:
    backbone = built(Vgg16Backbone.model_validate({"frozen": frozen}))
    free = [name for name, p in backbone.named_parameters() if p.requires_grad]
    assert free[0] == f"{first_free}.weight"
    assert free == [name for name, _ in backbone.named_parameters() if name >= first_free]


@pytest.mark.parametrize(
    ("frozen", "free"), [("none", 52), ("block3", 43), ("block13", 13), ("block17", 1), ("all", 0)]
)
def test_mobilenet_freezes_blocks_from_the_first_on(frozen: str, free: int) -> None:
    backbone = built(MobileNetBackbone.model_validate({"frozen": frozen}))
    weights = [p for name, p in backbone.named_parameters() if name.endswith("weight")]
    assert [p.requires_grad for p in weights] == [False] * (len(weights) - free) + [True] * free


@pytest.mark.parametrize(("frozen", "free"), [("none", 25), ("fire3", 18), ("fire5", 12), ("fire9", 0)])
def test_squeezenet_freezes_modules_from_the_first_on(frozen: str, free: int) -> None:
    backbone = built(SqueezeNetBackbone.model_validate({"frozen": frozen}))
    weights = [p for name, p in backbone.named_parameters() if name.endswith("weight")]
    assert [p.requires_grad for p in weights] == [False] * (len(weights) - free) + [True] * free


def test_freezing_random_weights_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    built(Vgg16Backbone(frozen="conv2"))
    assert "random weights and freezes them up to conv2" in caplog.text


def test_no_gradient_graph_is_kept_below_the_frozen_layers(images: Tensor) -> None:
    maps = built(Vgg16Backbone(frozen="conv4"))(images)
    assert [x.requires_grad for x in maps] == [False, False, False, True]
