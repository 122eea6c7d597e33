from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.evaluation.inference import Segmenter, segment_image
from sdcn_core.evaluation.pixel_evaluation import PixelFindings, find_pixels
from tests.sdcn_core.evaluation.splits import CAT_BOX, DOG_BOX, small_split

CONFIG = EvaluationConfig(test_scales_px=None, flip=True)
PROPOSALS = np.array([CAT_BOX, DOG_BOX], np.float32)


class Recorder:
    """A segmenter that sees a cat on the left half of everything and notes the sizes of what it was shown."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.sizes.append((images.shape[2], images.shape[3]))
        maps = torch.zeros(3, 6, 6)
        maps[0, :, :3] = 0.9
        maps[2] = 0.5
        return maps


def found_in(
    folder: Path, segmenter: Segmenter | None, *indices: int, masked: int = 4, shown: tuple[int, ...] = ()
) -> PixelFindings:
    split = small_split(folder, 4, masked=masked)
    scores = {k: np.array([[0.9, 0.0], [0.0, 0.9 * (k % 2)]], np.float32) for k in range(4)}
    proposals = {record.image_id: PROPOSALS for record in split.image_set.records}
    return find_pixels(
        segmenter, split, scores, proposals, config=CONFIG, max_side_px=2000, indices=indices, shown=shown
    )


def test_detections_on_the_objects_have_perfect_heat_maps(tmp_path: Path) -> None:
    scores = found_in(tmp_path, None, 0, 1, 2, 3).counts.heatmap_scores
    assert scores is not None
    assert (scores.iou, scores.mean_recall, scores.mean_precision) == ((1.0, 1.0, 1.0), 1.0, 1.0)


def test_the_segmentation_s_maps_are_held_against_the_masks(tmp_path: Path) -> None:
    scores = found_in(tmp_path, Recorder(), 0).counts.segmentation_scores
    assert scores is not None
    assert scores.recall == (1.0, None)
    assert scores.precision[0] == pytest.approx(400 / (48 * 24), rel=0.05)


def test_an_image_without_a_mask_is_neither_counted_nor_looked_at(tmp_path: Path) -> None:
    segmenter = Recorder()
    found = found_in(tmp_path, segmenter, 0, 1, 2, 3, masked=1)
    assert (found.counts.num_masks, len(segmenter.sizes), found.maps) == (1, 1, {})


def test_shown_images_keep_their_maps_masks_or_not(tmp_path: Path) -> None:
    found = found_in(tmp_path, Recorder(), 0, 1, 2, 3, masked=0, shown=(1, 3))
    assert (found.counts.num_masks, list(found.maps)) == (0, [1, 3])
    assert found.maps[1].dtype == np.uint8
    assert found.maps[1].tolist() == [[0, 0, 0, 2, 2, 2]] * 6


def test_a_network_without_a_segmentation_branch_keeps_no_maps(tmp_path: Path) -> None:
    found = found_in(tmp_path, None, 0, 1, shown=(0, 1))
    assert (found.maps, found.counts.segmentation_scores, found.counts.num_masks) == ({}, None, 2)


def test_shards_together_equal_the_whole(tmp_path: Path) -> None:
    whole = found_in(tmp_path, Recorder(), 0, 1, 2, 3, shown=(0, 3))
    shards = found_in(tmp_path, Recorder(), 1, 3, shown=(0, 3)) + found_in(tmp_path, Recorder(), 0, 2, shown=(0, 3))
    shards += PixelFindings.none(2, segmentation=True)
    assert shards.counts.num_masks == whole.counts.num_masks == 4
    assert shards.maps.keys() == whole.maps.keys()
    assert shards.counts.segmentation_scores == whole.counts.segmentation_scores
    assert shards.counts.heatmap_scores == whole.counts.heatmap_scores


@pytest.mark.parametrize(
    ("scales", "side"), [(None, 48), ((96,), 96), ((24, 96, 480, 36, 60), 60), ((24, 96), 96)], ids=str
)
def test_maps_are_made_at_the_middle_scale_once(scales: tuple[int, ...] | None, side: int) -> None:
    segmenter = Recorder()
    image = np.zeros((48, 48, 3), np.uint8)
    config = CONFIG.model_copy(update={"test_scales_px": scales})
    assert segment_image(segmenter, image, config=config, max_side_px=2000).shape == (3, 6, 6)
    assert segmenter.sizes == [(side, side)]
