import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sdcn_core.config.model import WeightsFile
from sdcn_core.errors import WeightsError
from sdcn_core.models.pretrained import first_layer_to_rgb, load_tensors, npz_key, read_weights, recognized_keys
from tests.sdcn_core.models.caffe_files import caffemodel, field, old_caffemodel, varint


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


@pytest.mark.parametrize("old", [False, True])
def test_a_caffemodel_gives_its_layers_by_name(tmp_path: Path, old: bool) -> None:
    conv, bias, matrix = torch.randn(4, 3, 2, 2), torch.randn(4), torch.randn(5, 4)
    layers = [("conv1", "Convolution", [conv, bias]), ("relu1", "ReLU", []), ("fc6", "InnerProduct", [matrix])]
    numbers = {"Convolution": 4, "ReLU": 18, "InnerProduct": 14}
    content = (
        old_caffemodel((name, numbers[kind], blobs) for name, kind, blobs in layers) if old else caffemodel(layers)
    )
    (tmp_path / "a.caffemodel").write_bytes(content)
    tensors = read_weights(WeightsFile(path="a.caffemodel"), tmp_path)
    assert tensors.keys() == {"conv1.weight", "conv1.bias", "fc6.weight"}
    for name, expected in (("conv1.weight", conv), ("conv1.bias", bias), ("fc6.weight", matrix)):
        assert torch.equal(tensors[name], expected)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x07nonsense", "no protocol buffer"),
        (caffemodel([("conv1", "Convolution", [torch.ones(2, 2)])])[:-3], "no protocol buffer"),
        (caffemodel([("relu1", "ReLU", [])]), "no layer with weights"),
        (b"", "no layer with weights"),
        (caffemodel([("conv1", "Convolution", [torch.ones(0, 2)])]), "its shape"),
        (field(100, field(1, b"conv1") + field(7, field(5, b"1234") + field(7, field(1, varint(2))))), "its shape"),
        (field(100, field(1, b"conv1") + field(7, field(5, b"123") + field(7, field(1, varint(1))))), "its shape"),
    ],
)
def test_a_caffemodel_that_is_none_or_contradicts_itself_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.caffemodel").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"a\.caffemodel cannot be read as \.caffemodel .*{said}"):
        read_weights(WeightsFile(path="a.caffemodel"), tmp_path)


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
        ({"1.w": None}, r"a\.npz has no '1\.w' of shape \(2, 3\)"),
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


@pytest.mark.parametrize("name", ["state_dict", "model"])
def test_a_checkpoint_gives_the_weights_that_it_holds(tmp_path: Path, name: str) -> None:
    torch.save({name: {"1.weight": torch.ones(1)}, "epoch": 3}, tmp_path / "a.pth")
    assert list(read_weights(WeightsFile(path="a.pth"), tmp_path)) == ["1.weight"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["a.weight", "b.weight"], "a.weight"),
        (["x.y.a.weight", "x.y.b.weight"], "x.y.a.weight"),
        (["0.weight", "1.weight"], "0.weight"),
        (["net.0.weight", "net.1.weight", "a.weight"], "net.0.weight"),
        (["teacher.net.a.weight", "teacher.net.b.weight", "net.a.weight", "net.b.weight"], "net.a.weight"),
        (["net.b.weight"], "net.a.weight"),
        ([], "a.weight"),
    ],
)
def test_names_are_looked_for_where_most_of_them_are(keys: list[str], expected: str) -> None:
    numbers = {"a.weight": "0.weight", "b.weight": "1.weight"}
    key_of = recognized_keys(dict.fromkeys(keys, torch.ones(1)), numbers, (str, numbers.__getitem__))
    assert key_of("a.weight") == expected
