import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sdcn_core.config.model import SqueezeNetBackbone, WeightsFile
from sdcn_core.models.backbone import build_backbone
from sdcn_core.models.squeezenet import X_SCALE, EarlyFires, LateFires, load_fires

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
