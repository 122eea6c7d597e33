"""The detection branch alone is OICR: labels, weights, losses and gradients on 200 images with ties and overlaps."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.config.loss_names import LossName
from sdcn_core.config.objective import ObjectiveConfig
from sdcn_core.losses.mil import mil_loss
from sdcn_core.objective import DetectionObjective
from sdcn_core.structures.outputs import DetectionOutput
from sdcn_core.targets.instances import mine_instances
from tests.reference.arithmetic import Array
from tests.reference.oicr import Oicr, inclusive_iou, oicr

IMAGES = 200
CONFIG = ObjectiveConfig(
    segmentation_branch=False, segmentation_instructs_detection=False, detection_instructs_segmentation=False
)


@dataclass(frozen=True)
class Image:
    kind: str
    midn: Array
    """(N, C)"""
    logits: Array
    """(K, N, C + 1)"""
    boxes: Array
    """(N, 4) xyxy px, whole numbers, half-open"""
    labels: Array
    """(C)"""

    @property
    def twin(self) -> Oicr:
        return oicr(
            self.midn.tolist(), self.logits.tolist(), self.boxes.tolist(), self.labels.astype(np.int64).tolist()
        )


def draw(seed: int) -> Image:
    """Five kinds in turn. Everywhere places, sizes and scores are few and proposals come twice, so that scores and
    overlaps tie, and the seeds of several classes overlap.
    """
    random = np.random.default_rng(seed)
    kind = ("many", "one-proposal", "no-positive-class", "more-classes-than-proposals", "all-classes")[seed % 5]
    count, classes = int(random.integers(2, 15)), int(random.integers(1, 6))
    if kind == "one-proposal":
        count = 1
    if kind == "more-classes-than-proposals":
        count, classes = 3, int(random.integers(5, 9))
    labels = random.integers(0, 2, classes)
    labels[random.integers(classes)] = 1
    if kind == "no-positive-class":
        labels[:] = 0
    if kind in ("more-classes-than-proposals", "all-classes"):
        labels[:] = 1
    corner = random.integers(0, 3, (count, 2)) * 2
    boxes = np.concatenate([corner, corner + random.integers(1, 4, (count, 2)) * 2], axis=1)
    midn = random.integers(0, 4, (count, classes)) / (4.0 * count)  # a column sums to less than 1
    logits = random.normal(size=(int(random.integers(1, 4)), count, classes + 1)) * 2
    half = count // 2
    logits[:, count - half :] = logits[:, :half]  # equal rows, hence equal scores
    return Image(kind, midn, logits, boxes.astype(np.float64), labels.astype(np.float64))


every_image = pytest.mark.parametrize("image", [pytest.param(draw(seed), id=str(seed)) for seed in range(IMAGES)])


def teachers(image: Image) -> list[Tensor]:
    """Scores that teach each refinement: D^m, then the refinement before."""
    refined = torch.from_numpy(image.logits).softmax(dim=2)[..., :-1]
    return [torch.from_numpy(image.midn), *refined[:-1]]


@every_image
def test_pseudo_labels_are_oicrs(image: Image) -> None:
    boxes, labels = torch.from_numpy(image.boxes), torch.from_numpy(image.labels)
    for teacher, expected in zip(teachers(image), image.twin.refinements, strict=True):
        found = mine_instances(
            teacher,
            boxes,
            labels,
            foreground_iou=CONFIG.foreground_iou,
            ignored_below_iou=CONFIG.ignored_below_iou,
        )
        assert found.labels.tolist() == expected.labels
        np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-12)


@every_image
def test_losses_and_their_gradients_are_oicrs(image: Image) -> None:
    midn = torch.from_numpy(image.midn).requires_grad_()
    logits = tuple(torch.from_numpy(branch).requires_grad_() for branch in image.logits)
    losses = DetectionObjective(CONFIG)(
        DetectionOutput(midn_scores=midn, refinement_logits=logits),
        torch.from_numpy(image.boxes),
        torch.from_numpy(image.labels),
        prior=None,
    )
    expected = image.twin
    assert losses[LossName.MIL].item() == pytest.approx(expected.mil, rel=1e-12)
    assert losses[LossName.REF].item() == pytest.approx(sum(r.loss for r in expected.refinements), rel=1e-12)
    (mil_gradient,) = torch.autograd.grad(losses[LossName.MIL], midn)
    np.testing.assert_allclose(mil_gradient, expected.mil_gradient, rtol=1e-9)
    for gradient, refined in zip(torch.autograd.grad(losses[LossName.REF], logits), expected.refinements, strict=True):
        np.testing.assert_allclose(gradient, refined.gradient, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("seed", range(10))
def test_a_class_has_its_share_of_the_image_loss_and_no_more(seed: int) -> None:
    """By differences: OICR's equation is a sum over classes, what it propagates is the mean."""
    image = draw(seed)
    step = 1e-7
    expected = image.twin.mil_gradient[0]
    for j in range(len(image.labels)):
        around = []
        for sign in (1, -1):
            moved = image.midn.copy()
            moved[0, j] += sign * step
            loss = mil_loss(
                torch.from_numpy(moved), torch.from_numpy(image.labels), eps=CONFIG.probability_eps, reduction="mean"
            )
            around.append(loss.item())
        if CONFIG.probability_eps < image.midn[:, j].sum() - step:  # away from the clamp's corner
            assert (around[0] - around[1]) / (2 * step) == pytest.approx(expected[j], rel=1e-5)


def test_the_images_hold_what_makes_implementations_differ() -> None:
    met: Counter[str] = Counter()
    for image in map(draw, range(IMAGES)):
        met[image.kind] += 1
        positive = np.flatnonzero(image.labels)
        seeds = list(image.twin.refinements[0].seeds.values())
        inclusive = [(x1, y1, x2 - 1, y2 - 1) for x1, y1, x2, y2 in image.boxes]
        overlaps = [[inclusive_iou(box, inclusive[seed]) for seed in seeds] for box in inclusive]
        met["equal best scores"] += any((image.midn[:, j] == image.midn[:, j].max()).sum() > 1 for j in positive)
        met["a taken proposal is the best of a later class"] += any(
            image.midn[:, j].argmax() in seeds[:rank] for rank, j in enumerate(positive)
        )
        met["equal best overlaps"] += any(len(row) > 1 and row.count(max(row)) > 1 and max(row) > 0 for row in overlaps)
        met["overlap of exactly one half"] += any(0.5 in row for row in overlaps)
        met["overlapping seeds of two classes"] += any(
            overlaps[seed][rank] > 0 for rank in range(len(seeds)) for seed in seeds[:rank]
        )
        met["a chain of refinements"] += len(image.logits) > 1
    assert len(met) == 11
    assert min(met.values()) >= 20, met
