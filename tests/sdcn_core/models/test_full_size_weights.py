"""VGG16 and ResNet-101 from files with the names and shapes that such files have."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import (
    Convention,
    DetectionConfig,
    ModelConfig,
    ResNet101Classifier,
    Vgg16Backbone,
    WeightsFile,
)
from sdcn_core.errors import WeightsError
from sdcn_core.models.adversarial_classifier import AdversarialClassifier, build_classifier
from sdcn_core.models.backbone import Backbone, build_backbone
from sdcn_core.models.pixel_norm import pixels_of
from sdcn_core.models.resnet import Bottleneck
from sdcn_core.models.sdcn import SDCN
from sdcn_core.models.vgg16 import HIDDEN_LAYERS, load_hidden_layers
from tests.sdcn_core.models.caffe_files import caffemodel, old_caffemodel

File = dict[str, Tensor]

FAST_RCNN_BGR = (102.9801, 115.9465, 122.7717)
VGG_BGR = (103.939, 116.779, 123.68)


def filled(value: float, *shape: int) -> Tensor:
    """A constant that takes one number in the file."""
    return torch.full((1,), float(value), device="cpu").expand(shape)


# --- files: each tensor has a number of its own, in the order of the layers


def vgg16_file(convs: list[str], hidden: list[str]) -> File:
    shapes = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (256, 256)]
    shapes += [(512, 256), *[(512, 512)] * 5]
    number, file = count(1), {}
    for name, (outs, ins) in zip(convs, shapes, strict=True):
        file[f"{name}.weight"] = filled(next(number), outs, ins, 3, 3)
        file[f"{name}.bias"] = filled(next(number), outs)
    for name, (outs, ins) in zip(hidden, ((4096, 25088), (4096, 4096), (1000, 4096)), strict=True):
        file[f"{name}.weight"] = filled(next(number), outs, ins)
        file[f"{name}.bias"] = filled(next(number), outs)
    return file


def torchvision_vgg16() -> File:
    """Numbers skip ReLUs, pools and dropout."""
    convs = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    return vgg16_file([f"features.{n}" for n in convs], [f"classifier.{n}" for n in (0, 3, 6)])


def caffe_vgg16() -> File:
    convs = [
        f"conv{block}_{layer}" for block, layers in enumerate((2, 2, 3, 3, 3), 1) for layer in range(1, layers + 1)
    ]
    return vgg16_file(convs, ["fc6", "fc7", "fc8"])


def resnet101_file(*, counters: bool = True) -> File:
    """torchvision's names, which Caffe's ports have too; `counters` are batch norm's num_batches_tracked."""
    number = count(1)
    file: File = {}

    def unit(conv: str, norm: str, outs: int, ins: int, kernel: int) -> None:
        file[f"{conv}.weight"] = filled(next(number), outs, ins, kernel, kernel)
        for kind in ("weight", "bias", "running_mean", "running_var"):
            file[f"{norm}.{kind}"] = filled(next(number), outs)
        if counters:
            file[f"{norm}.num_batches_tracked"] = torch.tensor(7, device="cpu")

    unit("conv1", "bn1", 64, 3, 7)
    ins = 64
    for layer, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 23), (512, 3)), start=1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            unit(f"{name}.conv1", f"{name}.bn1", width, ins, 1)
            unit(f"{name}.conv2", f"{name}.bn2", width, width, 3)
            unit(f"{name}.conv3", f"{name}.bn3", 4 * width, width, 1)
            if block == 0:
                unit(f"{name}.downsample.0", f"{name}.downsample.1", 4 * width, ins, 1)
            ins = 4 * width
    file["fc.weight"], file["fc.bias"] = filled(0, 1000, 2048), filled(0, 1000)
    return file


def behind(prefix: str, file: Mapping[str, Tensor]) -> File:
    return {prefix + name: tensor for name, tensor in file.items()}


def vgg16(folder: Path, file: File, **config: str) -> Backbone:
    torch.save(file, folder / "vgg16.pth")
    return build_backbone(
        Vgg16Backbone.model_validate({"weights": {"path": "vgg16.pth"}, **config}), weights_root=folder
    )


def resnet101(folder: Path, file: File, **config: str) -> AdversarialClassifier:
    torch.save(file, folder / "resnet101.pth")
    chosen = ResNet101Classifier.model_validate({"weights": {"path": "resnet101.pth"}, **config})
    return build_classifier(chosen, 3, weights_root=folder)


@pytest.fixture
def without_memory() -> Iterator[None]:
    """Networks have shapes and no numbers: for files that are refused before anything is copied."""
    with torch.device("meta"):
        yield


# --- every layer


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("file", [torchvision_vgg16, caffe_vgg16])
def test_every_layer_of_vgg16_is_the_files_under_either_names(
    tmp_path: Path, file: Callable[[], File], prefix: str
) -> None:
    own = vgg16(tmp_path, behind(prefix, file())).state_dict()
    assert list(own) == list(caffe_vgg16())[:26]
    for (name, tensor), wanted in zip(own.items(), file().values(), strict=False):
        assert torch.equal(tensor, wanted), name


@pytest.mark.parametrize("write", [caffemodel, old_caffemodel])
def test_every_convolution_of_vgg16_is_that_of_caffes_own_file(tmp_path: Path, write: Callable[..., bytes]) -> None:
    file = dict(list(caffe_vgg16().items())[:26])
    kind = "Convolution" if write is caffemodel else 4
    names = [name.removesuffix(".weight") for name in file if name.endswith(".weight")]
    layers = [(name, kind, [file[f"{name}.weight"], file[f"{name}.bias"]]) for name in names]
    (tmp_path / "vgg16.caffemodel").write_bytes(write(layers))
    config = {"weights": {"path": "vgg16.caffemodel"}, "convention": "torchvision"}
    backbone = build_backbone(Vgg16Backbone.model_validate(config), weights_root=tmp_path)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, file[name]), name


def test_fc6_and_fc7_have_caffes_names_too(tmp_path: Path) -> None:
    torch.save(caffe_vgg16(), tmp_path / "vgg16.pth")
    layers = [nn.utils.skip_init(nn.Linear, ins, outs) for outs, ins in HIDDEN_LAYERS]
    load_hidden_layers(*layers, WeightsFile(path="vgg16.pth"), tmp_path)
    found = [tensor[..., 0].unique().tolist() for layer in layers for tensor in (layer.weight, layer.bias[:, None])]
    assert found == [[27], [28], [29], [30]]


def test_the_detection_branch_starts_from_fc6_and_fc7(tmp_path: Path) -> None:
    hidden = vgg16_sdcn(tmp_path).detection.features
    assert (hidden.fc6.weight[0, 0], hidden.fc6.bias[0]) == (27, 28)
    assert (hidden.fc7.weight[0, 0], hidden.fc7.bias[0]) == (29, 30)


def test_hidden_layers_of_another_size_start_at_random_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = vgg16_sdcn(tmp_path, hidden=8).detection.features
    assert len(hidden.fc6.weight.unique()) > 2
    assert "start from random weights" in caplog.text


def vgg16_sdcn(folder: Path, **detection: int) -> SDCN:
    torch.save(torchvision_vgg16(), folder / "vgg16.pth")
    backbone = Vgg16Backbone(weights=WeightsFile(path="vgg16.pth"))
    config = ModelConfig(backbone=backbone, detection=DetectionConfig.model_validate(detection))
    return SDCN(config, 2, segmentation_branch=False, weights_root=folder)


@pytest.mark.parametrize(("prefix", "counters"), [("", True), ("resnet.", False), ("module.resnet.", True)])
def test_every_parameter_and_statistic_of_resnet101_is_the_files(tmp_path: Path, prefix: str, counters: bool) -> None:
    file = resnet101_file(counters=counters)
    classifier = resnet101(tmp_path, behind(prefix, file))
    own = {name: t for name, t in classifier.state_dict().items() if "classify" not in name}
    wanted = [tensor for name, tensor in file.items() if tensor.dim() and not name.startswith("fc.")]
    for (name, tensor), expected in zip(own.items(), wanted, strict=True):
        assert torch.equal(tensor, expected), name


# --- conventions


@pytest.mark.parametrize(
    ("convention", "mean_rgb", "deviation_rgb"),
    [
        ("torchvision", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ("caffe", VGG_BGR[::-1], (1, 1, 1)),
        ("fast_rcnn", FAST_RCNN_BGR[::-1], (1, 1, 1)),
    ],
)
def test_each_convention_has_its_own_mean_and_deviation(
    convention: Convention, mean_rgb: tuple[float, ...], deviation_rgb: tuple[float, ...]
) -> None:
    pixels = pixels_of(convention)
    assert pixels.mean.flatten().tolist() == pytest.approx(mean_rgb)
    assert pixels.deviation.flatten().tolist() == pytest.approx(deviation_rgb)


@pytest.mark.parametrize(("convention", "mean_bgr"), [("caffe", VGG_BGR), ("fast_rcnn", FAST_RCNN_BGR)])
def test_caffes_first_layers_see_bgr_less_the_mean(
    tmp_path: Path, images: Tensor, convention: str, mean_bgr: tuple[float, ...]
) -> None:
    vgg_file, resnet_file = caffe_vgg16(), resnet101_file()
    vgg_file["conv1_1.weight"] = conv3 = torch.randn(64, 3, 3, 3)
    resnet_file["conv1.weight"] = conv7 = torch.randn(64, 3, 7, 7)
    backbone = vgg16(tmp_path, vgg_file, convention=convention)
    trunk = resnet101(tmp_path, resnet_file, convention=convention).trunk
    bgr = images[:, [2, 1, 0]] - torch.tensor(mean_bgr)[:, None, None]
    for conv, pixels, kernel in (
        (backbone.conv1_1, backbone.pixels, conv3),
        (trunk.stem.conv, trunk.pixels, conv7),
    ):
        ours = F.conv2d(pixels(images), conv.weight)
        torch.testing.assert_close(ours, F.conv2d(bgr, kernel), rtol=1e-4, atol=1e-2)


def test_caffes_blocks_stride_in_the_first_convolution_torchvisions_in_the_second() -> None:
    for convention, strides in (("torchvision", (1, 2)), ("caffe", (2, 1))):
        with torch.device("meta"):
            config = ResNet101Classifier.model_validate({"convention": convention})
            classifier = build_classifier(config, 2, weights_root=None)
        found = {
            name: (block.unit1.every, block.unit2.conv.stride[0])
            for name, block in classifier.named_modules()
            if isinstance(block, Bottleneck)
        }
        first = {"trunk.layer2.0", "trunk.layer3.0", "tail.layer4.0"}
        assert found == {name: strides if name in first else (1, 1) for name in found}


# --- files that do not fit


@pytest.mark.usefixtures("without_memory")
@pytest.mark.parametrize(
    ("file", "prefix", "changes", "message"),
    [
        (
            torchvision_vgg16,
            "",
            {"features.5.bias": None, "features.24.bias": None},
            r"no 'features\.5\.bias' of .*\(128,\)",
        ),
        (caffe_vgg16, "module.", {"conv3_2.weight": None}, r"no 'module\.conv3_2\.weight' of shape \(256, 256, 3, 3\)"),
        (
            caffe_vgg16,
            "",
            {"conv1_1.weight": torch.zeros(9)},
            r"'conv1_1\.weight' has shape \(9,\) instead of \(64, 3, 3, 3\)",
        ),
        (
            torchvision_vgg16,
            "",
            {"features.0.weight": torch.full((64, 3, 3, 3), torch.inf)},
            r"'features\.0\.weight' holds numbers",
        ),
        (resnet101_file, "", {}, r"no 'features\.0\.weight' of shape \(64, 3, 3, 3\): it is of another architecture"),
    ],
)
def test_the_first_tensor_that_does_not_fit_vgg16_is_named(
    tmp_path: Path, file: Callable[[], File], prefix: str, changes: dict[str, Tensor | None], message: str
) -> None:
    changed = {name: tensor for name, tensor in (file() | changes).items() if tensor is not None}
    with pytest.raises(WeightsError, match=message):
        vgg16(tmp_path, behind(prefix, changed), convention="caffe")


@pytest.mark.usefixtures("without_memory")
@pytest.mark.parametrize(
    ("file", "prefix", "changes", "message"),
    [
        (
            resnet101_file,
            "",
            {"layer3.5.bn2.bias": None, "layer4.0.bn1.bias": None},
            r"no 'layer3\.5\.bn2\.bias' of .*\(256,\)",
        ),
        (resnet101_file, "resnet.", {"layer4.2.bn3.running_var": None}, r"no 'resnet\.layer4\.2\.bn3\.running_var'"),
        (
            resnet101_file,
            "",
            {"layer3.6.conv1.weight": torch.zeros(256, 1024)},
            r"'layer3\.6\.conv1\.weight' has shape \(256, 1024\)",
        ),
        (resnet101_file, "", {"bn1.running_mean": torch.full((64,), torch.nan)}, r"'bn1\.running_mean' holds numbers"),
        (torchvision_vgg16, "", {}, r"no 'conv1\.weight' of shape \(64, 3, 7, 7\): it is of another architecture"),
    ],
)
def test_the_first_tensor_that_does_not_fit_resnet101_is_named(
    tmp_path: Path, file: Callable[[], File], prefix: str, changes: dict[str, Tensor | None], message: str
) -> None:
    changed = {name: tensor for name, tensor in (file() | changes).items() if tensor is not None}
    with pytest.raises(WeightsError, match=message):
        resnet101(tmp_path, behind(prefix, changed))


@pytest.mark.usefixtures("without_memory")
def test_resnet50_is_not_taken_for_resnet101(tmp_path: Path) -> None:
    file = {n: t for n, t in resnet101_file().items() if not (n.startswith("layer3.") and int(n.split(".")[1]) > 5)}
    with pytest.raises(WeightsError, match=r"no 'layer3\.6\.conv1\.weight' of shape \(256, 1024, 1, 1\)"):
        resnet101(tmp_path, file)
