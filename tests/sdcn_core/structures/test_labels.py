import pytest
import torch

from sdcn_core.structures.labels import present_classes


@pytest.mark.parametrize(
    ("image_labels", "present"), [([0, 1, 0, 1], [1, 3, 4]), ([0, 0], [2]), ([1], [0, 1]), ([1, 1, 1], [0, 1, 2, 3])]
)
def test_background_follows_the_positive_classes(image_labels: list[float], present: list[int]) -> None:
    assert present_classes(torch.tensor(image_labels, dtype=torch.float32)).tolist() == present
