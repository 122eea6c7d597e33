import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sdcn_core.config.model import SqueezeNetBackbone, WeightsFile
from sdcn_core.errors import WeightsError
from sdcn_core.models.backbone import build_backbone
from sdcn_core.models.pretrained import read_weights
from sdcn_core.models.squeezenet import X_SCALE, EarlyFires, LateFires, load_fires
from tests.sdcn_core.models.caffe_files import caffemodel

FILE = WeightsFile(
    path="squeezenet_v1.1_notop.npz", sha256="8133c8cfd18ddcc818d500493e1dd3e2f6f10dc601452d68a27d19b7adffed91"
)


def test_caffes_undilated_network_reproduces_the_features_on_record(shared_weights: Path, pattern: Tensor) -> None:
    record = json.loads((shared_weights / "ref_outputs.json").read_text())["squeezenet_v1.1"]["ceil"]
    early, late = EarlyFires(padding=0), LateFires(stride=2, padding=0)
    load_fires((early, late), FILE, shared_weights)
    with torch.no_grad():
        fire9 = late(early(pattern)[-1])
    means = fire9.mean(dim=(2, 3))[0]
    assert list(fire9.shape) == record["shape"]
    assert means.sum().item() == pytest.approx(record["gap_sum"], rel=1e-5)
    assert means[:8].tolist() == pytest.approx(record["gap_0_8"], rel=1e-4, abs=1e-5)


def test_the_authors_own_file_fills_the_network_as_the_npz_does(
    shared_weights: Path, pattern: Tensor, tmp_path: Path
) -> None:
    names = {"squeeze": "squeeze1x1", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}
    read = read_weights(FILE, shared_weights)
    blobs = [
        (layer.removesuffix(".w"), [read[layer], read[f"{layer[:-1]}b"]]) for layer in read if layer.endswith(".w")
    ]
    layers = [
        ("/".join(names.get(word, word) for word in name.split(".")), "Convolution", pair) for name, pair in blobs
    ]
    assert {"conv1", "fire2/squeeze1x1", "fire9/expand3x3"} <= {name for name, _, _ in layers}
    (tmp_path / "squeezenet_v1.1.caffemodel").write_bytes(caffemodel(layers))
    maps = []
    for weights, root in ((FILE, shared_weights), (WeightsFile(path="squeezenet_v1.1.caffemodel"), tmp_path)):
        backbone = build_backbone(SqueezeNetBackbone(weights=weights), weights_root=root)
        with torch.no_grad():
            maps.append(backbone(pattern)[-1])
    assert torch.equal(*maps)


def test_a_file_of_another_network_is_refused_by_its_first_layer(tmp_path: Path) -> None:
    (tmp_path / "vgg.caffemodel").write_bytes(caffemodel([("conv1_1", "Convolution", [torch.ones(64, 3, 3, 3)])]))
    with pytest.raises(WeightsError, match=r"vgg\.caffemodel has no .*conv1.* of shape \(64, 3, 3, 3\)"):
        build_backbone(SqueezeNetBackbone(weights=WeightsFile(path="vgg.caffemodel")), weights_root=tmp_path)


def test_the_dilated_backbone_sees_what_the_undilated_network_sees(shared_weights: Path, pattern: Tensor) -> None:
    backbone = build_backbone(SqueezeNetBackbone(weights=FILE), weights_root=shared_weights)
    early, late = EarlyFires(padding=1), LateFires(stride=2, padding=1)
    load_fires((early, late), FILE, shared_weights)
    with torch.no_grad():
        dilated, undilated = backbone(pattern)[-1] / X_SCALE, late(early(pattern)[-1])
    assert dilated.shape == (1, 512, 28, 28)
    # Every second cell is a cell of the network at stride 16, away from the edges.
    torch.testing.assert_close(dilated[:, :, 8:20:2, 8:20:2], undilated[:, :, 4:10, 4:10], rtol=1e-4, atol=1e-3)


def test_the_early_fires_are_those_of_the_file_also_when_frozen(shared_weights: Path) -> None:
    backbone = build_backbone(SqueezeNetBackbone(weights=FILE, frozen="fire9"), weights_root=shared_weights)
    assert not any(p.requires_grad for p in backbone.parameters())
