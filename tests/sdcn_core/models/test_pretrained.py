import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sdcn_core.config.model import DetectionConfig, ModelConfig, ResNet101Classifier, Vgg16Backbone, WeightsFile
from sdcn_core.errors import WeightsError
from sdcn_core.models.adversarial_classifier import build_classifier
from sdcn_core.models.backbone import build_backbone
from sdcn_core.models.pretrained import first_layer_to_rgb, load_tensors, npz_key, read_weights
from sdcn_core.models.sdcn import SDCN


def filled(value: float, *shape: int) -> Tensor:
    """A constant that takes one number in the file."""
    return torch.full((1,), value).expand(shape)


def torchvision_vgg16() -> dict[str, Tensor]:
    """torchvision's names; layer i (from 1) is filled with i, its bias with -i. The numbers skip ReLUs and pools."""
    convs = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256)]
    convs += [(17, 256, 512), *((place, 512, 512) for place in (19, 21, 24, 26, 28))]
    file = {}
    for i, (place, ins, outs) in enumerate(convs, start=1):
        file[f"features.{place}.weight"] = filled(i, outs, ins, 3, 3)
        file[f"features.{place}.bias"] = filled(-i, outs)
    for place, ins, outs in ((0, 25088, 4096), (3, 4096, 4096), (6, 4096, 1000)):
        file[f"classifier.{place}.weight"] = filled(100 + place, outs, ins)
        file[f"classifier.{place}.bias"] = filled(-100 - place, outs)
    return file


def torchvision_resnet101() -> dict[str, Tensor]:
    """torchvision's names; convolutions are filled with 0, norms with 1, but for a few that the test looks at."""
    file: dict[str, Tensor] = {}

    def unit(conv: str, norm: str, outs: int, ins: int, kernel: int) -> None:
        file[f"{conv}.weight"] = filled(0.0, outs, ins, kernel, kernel)
        file.update({f"{norm}.{kind}": filled(1.0, outs) for kind in ("weight", "bias", "running_mean", "running_var")})
        file[f"{norm}.num_batches_tracked"] = torch.tensor(7)

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
    file["fc.weight"], file["fc.bias"] = filled(0.0, 1000, 2048), filled(0.0, 1000)
    return file


def test_vgg16_takes_torchvisions_layers_in_order(tmp_path: Path) -> None:
    torch.save(torchvision_vgg16(), tmp_path / "vgg16.pth")
    backbone = build_backbone(Vgg16Backbone(weights=WeightsFile(path="vgg16.pth")), weights_root=tmp_path)
    weights = [p for p in backbone.parameters() if p.dim() == 4]
    biases = [p for p in backbone.parameters() if p.dim() == 1]
    assert [w.unique().tolist() for w in weights] == [[i] for i in range(1, 14)]
    assert [b.unique().tolist() for b in biases] == [[-i] for i in range(1, 14)]


def vgg16_sdcn(folder: Path, **detection: int) -> SDCN:
    torch.save(torchvision_vgg16(), folder / "vgg16.pth")
    backbone = Vgg16Backbone(weights=WeightsFile(path="vgg16.pth"))
    config = ModelConfig(backbone=backbone, detection=DetectionConfig.model_validate(detection))
    return SDCN(config, 2, segmentation_branch=False, weights_root=folder)


def test_fc6_and_fc7_start_from_vgg16s_first_two_classifier_layers(tmp_path: Path) -> None:
    hidden = vgg16_sdcn(tmp_path).detection.features
    assert (hidden.fc6.weight[0, 0], hidden.fc6.bias[0]) == (100, -100)
    assert (hidden.fc7.weight[0, 0], hidden.fc7.bias[0]) == (103, -103)


def test_hidden_layers_of_another_size_start_at_random_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = vgg16_sdcn(tmp_path, hidden=8).detection.features
    assert len(hidden.fc6.weight.unique()) > 2
    assert "start from random weights" in caplog.text


def test_resnet101_takes_torchvisions_blocks_and_statistics(tmp_path: Path) -> None:
    file = torchvision_resnet101()
    file["layer3.22.conv2.weight"] = filled(5.0, 256, 256, 3, 3)
    file["layer4.0.downsample.1.running_var"] = filled(6.0, 2048)
    file["bn1.running_mean"] = filled(8.0, 64)
    torch.save(file, tmp_path / "resnet101.pth")
    config = ResNet101Classifier(weights=WeightsFile(path="resnet101.pth"))
    own = build_classifier(config, 3, weights_root=tmp_path).state_dict()
    assert own["trunk.layer3.22.unit2.conv.weight"].unique().tolist() == [5]
    assert own["tail.layer4.0.shortcut.norm.running_var"].unique().tolist() == [6]
    assert own["trunk.stem.norm.running_mean"].unique().tolist() == [8]


def test_bgr_weights_become_rgb_ones() -> None:
    conv, image = torch.randn(4, 3, 3, 3), torch.randn(1, 3, 5, 5)
    rgb = first_layer_to_rgb({"conv1.w": conv}, "conv1.w")["conv1.w"]
    torch.testing.assert_close(nn.functional.conv2d(image, rgb), nn.functional.conv2d(image.flip(1), conv))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    np.savez(tmp_path / "a.npz", **{"1.w": np.ones((2, 3), np.float32), "1.b": np.zeros(2, np.float32), "meta": "text"})
    return tmp_path / "a.npz"


def test_an_archive_gives_its_numbers_and_not_its_text(archive: Path) -> None:
    tensors = read_weights(WeightsFile(path="a.npz"), archive.parent)
    assert {key: tuple(t.shape) for key, t in tensors.items()} == {"1.w": (2, 3), "1.b": (2,)}


def test_the_sum_is_checked_before_use(archive: Path) -> None:
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    read_weights(WeightsFile(path="a.npz", sha256=right), archive.parent)
    with pytest.raises(WeightsError, match=r"a\.npz has sha256 .*correct weights\.sha256"):
        read_weights(WeightsFile(path="a.npz", sha256="0" * 64), archive.parent)


def test_a_missing_file_and_a_missing_root_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nothing\.npz does not exist: put it there"):
        read_weights(WeightsFile(path="nothing.npz"), tmp_path)
    with pytest.raises(WeightsError, match="no weights root is configured"):
        read_weights(WeightsFile(path="nothing.npz"), None)


@pytest.mark.parametrize("name", ["broken.npz", "broken.pth", "unknown.txt"])
def test_a_file_that_is_no_weights_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=name):
        read_weights(WeightsFile(path=name), tmp_path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"1.weight": torch.ones(1), "hook": print}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth cannot be read as a dictionary of tensors"):
        read_weights(WeightsFile(path="evil.pth"), tmp_path)


def test_an_object_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", **{"1.w": np.array([print], dtype=object)})
    with pytest.raises(WeightsError, match=r"evil\.npz cannot be read as \.npz"):
        read_weights(WeightsFile(path="evil.npz"), tmp_path)


def test_an_archive_that_unpacks_beyond_the_limit_is_refused_unread(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdcn_core.models.pretrained.MAX_BYTES", archive.stat().st_size)
    np.savez_compressed(archive, **{"1.w": np.zeros(10_000, np.float32)})
    with pytest.raises(WeightsError, match="unpacks to"):
        read_weights(WeightsFile(path="a.npz"), archive.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"1.w": torch.ones(2, 4)}, r"'1\.w' has shape \(2, 4\) instead of \(2, 3\)"),
        ({"1.w": torch.full((2, 3), torch.nan)}, r"'1\.w' holds numbers that are not finite"),
        ({"1.w": None}, r"a\.npz has no '1\.w'"),
    ],
)
def test_weights_that_do_not_fit_leave_the_network_untouched(change: dict[str, Tensor | None], message: str) -> None:
    net = nn.Sequential(nn.ReLU(), nn.Linear(3, 2))
    before = net[1].bias.clone()
    tensors = {"1.b": torch.ones(2), "1.w": torch.ones(2, 3)} | change
    fitting = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    with pytest.raises(WeightsError, match=message):
        load_tensors(net, fitting, key_of=npz_key, source="a.npz")
    assert torch.equal(net[1].bias, before)
