import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.evaluation.inference import score_proposals, scoring_size
from sdcn_core.structures.outputs import ScoredProposals

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
BOXES = np.array([[0, 0, 50, 30], [10, 5, 20, 25]], dtype=np.float32)


class Recorder:
    """A scorer that notes what it was shown and answers with the boxes' left edges."""

    def __init__(self) -> None:
        self.shown: list[tuple[Tensor, Tensor]] = []

    def __call__(self, images: Tensor, proposals: Tensor) -> ScoredProposals:
        self.shown.append((images, proposals))
        return ScoredProposals(proposals[:, :1])


def test_one_pass_over_the_image_as_it_is_where_neither_scales_nor_flips_are_wanted() -> None:
    scorer = Recorder()
    score_proposals(scorer, IMAGE, BOXES, config=EvaluationConfig(test_scales_px=None, flip=False), max_side_px=2000)
    ((images, boxes),) = scorer.shown
    assert images.dtype == torch.float32
    np.testing.assert_array_equal(images[0].permute(1, 2, 0).numpy(), IMAGE)
    np.testing.assert_array_equal(boxes.numpy(), BOXES)


def test_scores_are_the_mean_over_scales_and_flips() -> None:
    scorer = Recorder()
    config = EvaluationConfig(test_scales_px=(50, 100), test_side="longest", flip=True)
    found = score_proposals(scorer, IMAGE, BOXES, config=config, max_side_px=2000)
    assert [tuple(images.shape[2:]) for images, _ in scorer.shown] == [(30, 50), (30, 50), (60, 100), (60, 100)]
    assert found.scores.tolist() == [[0.0], [(10 + 30 + 20 + 60) / 4]]
    assert found.scores.dtype == np.float32
    np.testing.assert_array_equal(found.boxes, BOXES)


def test_the_mirror_image_shows_the_same_pixels_in_the_mirrored_box() -> None:
    scorer = Recorder()
    score_proposals(scorer, IMAGE, BOXES, config=EvaluationConfig(test_scales_px=None, flip=True), max_side_px=2000)
    (image, boxes), (mirror, mirrored) = scorer.shown
    x1, y1, x2, y2 = boxes[1].int().tolist()
    u1, v1, u2, v2 = mirrored[1].int().tolist()
    assert torch.equal(image[0, :, y1:y2, x1:x2].flip(2), mirror[0, :, v1:v2, u1:u2])


def test_boxes_stay_inside_an_image_whose_scaled_size_was_rounded() -> None:
    scorer = Recorder()
    config = EvaluationConfig(test_scales_px=(33,), test_side="longest", flip=True)
    score_proposals(scorer, IMAGE[:, :47], np.array([[0, 0, 47, 30]]), config=config, max_side_px=2000)
    for images, boxes in scorer.shown:
        np.testing.assert_allclose(boxes.numpy(), [[0, 0, images.shape[3], images.shape[2]]], atol=1e-5)


def test_scores_carry_no_gradient() -> None:
    weight = torch.ones(1, requires_grad=True)

    def scorer(images: Tensor, boxes: Tensor) -> ScoredProposals:
        return ScoredProposals(boxes[:, :1] * weight)

    found = score_proposals(scorer, IMAGE, BOXES, config=EvaluationConfig(), max_side_px=60)
    assert found.scores.shape == (2, 1)


def regressor(images: Tensor, proposals: Tensor) -> ScoredProposals:
    """Moves what it thinks is a cat by a tenth of its width towards the darker side, and a dog not at all."""
    halves = images.mean(dim=(0, 1, 2)).tensor_split(2)
    direction = torch.sign(halves[0].mean() - halves[1].mean())
    deltas = torch.zeros(len(proposals), 2, 4)
    deltas[:, 0, 0] = 0.1 * direction
    return ScoredProposals(proposals[:, :2], deltas)


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_are_moved_by_the_mean_delta_of_each_class_and_cut_at_the_edges(flip: bool) -> None:
    darker_on_the_right = IMAGE // (1 + np.arange(50) // 25)[None, :, None].astype(np.uint8)
    config = EvaluationConfig(test_scales_px=(50, 100), test_side="longest", flip=flip)
    found = score_proposals(regressor, darker_on_the_right, BOXES, config=config, max_side_px=2000)
    cats, dogs = found.boxes[:, 0], found.boxes[:, 1]
    np.testing.assert_allclose(cats, [[5, 0, 50, 30], [11, 5, 21, 25]], rtol=1e-6)
    np.testing.assert_allclose(dogs, BOXES)
    assert found.boxes.dtype == np.float32


@pytest.mark.parametrize(
    ("side", "scale", "limit", "size"),
    [
        ("longest", 100, 2000, (60, 100)),
        ("shortest", 60, 2000, (60, 100)),
        ("shortest", 60, 80, (48, 80)),
        ("longest", None, 2000, (30, 50)),
        ("longest", None, 25, (15, 25)),
    ],
)
def test_an_image_is_scored_at_the_size_its_side_scale_and_limit_say(
    side: str, scale: int | None, limit: int, size: tuple[int, int]
) -> None:
    assert scoring_size(30, 50, scale_px=scale, side=side, max_side_px=limit) == size  # type: ignore[arg-type]


def test_a_thin_image_keeps_at_least_one_pixel() -> None:
    assert scoring_size(1, 1000, scale_px=100, side="longest", max_side_px=2000) == (1, 100)
