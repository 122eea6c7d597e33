from pathlib import Path

import pytest
import torch

from sdcn_core.config.model import (
    DetectionConfig,
    ModelConfig,
    SegmentationConfig,
    SmallResNetClassifier,
    SmallVggBackbone,
)
from tests.shared_material import SHARED


@pytest.fixture
def shared_weights() -> Path:
    """The folder of real pretrained weights."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip(
            f"{folder} is absent: set SDCN_TEST_SHARED to a folder that holds weights/squeezenet_v1.1_notop.npz and"
            " weights/mobilenet_v2_1.0_224.npz"
        )
    return folder


@pytest.fixture
def pattern() -> torch.Tensor:
    """The image whose features are on record: (x % 256, y % 256, (x + 2 y) % 256), RGB, 224 px."""
    y, x = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    return torch.stack([x % 256, y % 256, (x + 2 * y) % 256]).float()[None]


@pytest.fixture
def small_config() -> ModelConfig:
    return ModelConfig(
        backbone=SmallVggBackbone(widths=(4, 6, 8, 10)),
        detection=DetectionConfig(roi_grid=3, hidden=16, dropout=0.0),
        segmentation=SegmentationConfig(levels=3, channels=8, bottleneck=4, groups=2),
        classifier=SmallResNetClassifier(widths=(4, 6, 8, 8, 8)),
    )


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 48, 40) * 255


@pytest.fixture
def proposals() -> tuple[torch.Tensor, ...]:
    first = torch.tensor([[0.0, 0.0, 40.0, 48.0], [3.0, 5.0, 20.0, 30.0], [10.0, 0.0, 11.0, 1.0]])
    return first, torch.tensor([[8.0, 8.0, 24.0, 40.0]])
