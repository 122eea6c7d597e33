from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.data.image_set import AnnotatedSet, ImageRecord, ImageSet
from sdcn_core.errors import DatasetError, TrainingDiverged
from sdcn_core.evaluation.evaluator import ScoredSplit, chance_scores, judge, score_images
from sdcn_core.evaluation.report import EvaluationReport
from sdcn_core.evaluation.scored_boxes import ScoredBoxes
from sdcn_core.structures.annotation import Detections
from sdcn_core.structures.outputs import ScoredProposals
from tests.sdcn_core.evaluation import devkit
from tests.sdcn_core.evaluation.made_up import FloatArray, annotation, random_boxes

CLASSES = ("cat", "dog", "cow")
CONFIG = EvaluationConfig(test_scales_px=None, flip=True)
BOXES = np.array([[0, 0, 20, 20], [20, 20, 40, 40], [0, 20, 20, 40]], dtype=np.float32)


@dataclass(frozen=True)
class Split:
    annotated: AnnotatedSet
    proposals: dict[str, FloatArray]


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Four images; image k has a cat in box k % 3, and image 0 also a dog in box 1. There is no cow."""
    records, annotations = [], []
    for k in range(4):
        path = tmp_path / f"{k}.png"
        cv2.imwrite(str(path), np.full((40, 40, 3), 50 * k, dtype=np.uint8))
        records.append(ImageRecord(f"im{k}", path, 40, 40, (0, 1) if k == 0 else (0,)))
        objects, classes = ([BOXES[0], BOXES[1]], [0, 1]) if k == 0 else ([BOXES[k % 3]], [0])
        annotations.append(annotation(objects, classes, image_id=f"im{k}"))
    image_set = ImageSet("test", CLASSES, tuple(records))
    return Split(AnnotatedSet(image_set, tuple(annotations)), {r.image_id: BOXES for r in records})


def perfect_scores(split: Split) -> dict[int, FloatArray]:
    scores = {}
    for k, truth in enumerate(split.annotated.annotations):
        scores[k] = np.full((3, 3), 0.1, dtype=np.float32)
        for box, c in zip(truth.boxes, truth.classes, strict=True):
            scores[k][(box == BOXES).all(axis=1), c] = 0.9
    return scores


def brightness(images: Tensor, proposals: Tensor) -> ScoredProposals:
    """A scorer that tells images apart: their mean, and each box's left edge."""
    return ScoredProposals(torch.stack([images.mean().expand(len(proposals)), proposals[:, 0], proposals[:, 1]], dim=1))


def verdict(
    split: Split, scores: dict[int, FloatArray], config: EvaluationConfig = CONFIG
) -> tuple[EvaluationReport, tuple[Detections, ...]]:
    scored = ScoredSplit(split.annotated, scores, split.proposals)
    judged = judge(scored, scored, config, seconds_per_image=0.5)
    return judged.report, judged.detections


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("flavour", ["voc07_11point", "area"])
@pytest.mark.parametrize("protocol", ["oicr", "pcl"])
@pytest.mark.parametrize("seed", range(3))
def test_the_way_from_scores_to_ap_equals_plain_loops(seed: int, protocol: str, flavour: str, rounded: bool) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 25, 8)
    boxes = [random_boxes(rng, n, side=20) for n in counts]
    scores = {k: rng.random((n, 2)).astype(np.float32) / 20 for k, n in enumerate(counts)}
    truths = [annotation(b[:3], rng.integers(0, 2, len(b[:3])), rng.random(len(b[:3])) < 0.2) for b in boxes]
    records = tuple(ImageRecord(f"im{k}", Path(f"{k}.png"), 40, 40, ()) for k in range(8))
    annotated = AnnotatedSet(ImageSet("test", ("cat", "dog"), records), tuple(truths))
    config = EvaluationConfig.model_validate(
        {
            "protocol": protocol,
            "ap": flavour,
            "rounded": rounded,
            "boxes_per_class": 12,
            "boxes_per_image_cap": 6,
            "pcl": {"score_threshold": 0.01, "boxes_per_image": 9},
        }
    )
    by_id = {f"im{k}": b for k, b in enumerate(boxes)}
    report = judge(ScoredSplit(annotated, scores, by_id), None, config).report
    placed = [b.tolist() for b in boxes]
    if protocol == "pcl":
        limits = {"threshold": 0.01, "iou": 0.3, "limit": 9}
        of_image = [devkit.select_of_image(scores[k].tolist(), placed[k], **limits) for k in range(8)]  # type: ignore[arg-type]
        kept = [[of_image[k][c] for k in range(8)] for c in range(2)]
    else:
        kept = [
            devkit.select([scores[k][:, c].tolist() for k in range(8)], placed, iou=0.3, limit=12, cap=48)
            for c in range(2)
        ]
    for c in range(2):
        found = [
            (k, round(float(scores[k][i, c]), 3) if rounded else float(scores[k][i, c]), placed[k][i])
            for k, rows in enumerate(kept[c])
            for i in rows
        ]
        objects = [
            [(b.tolist(), bool(d)) for b, label, d in zip(t.boxes, t.classes, t.difficult, strict=True) if label == c]
            for t in truths
        ]
        curve = devkit.precision_recall(found, objects, 0.5)
        expected = devkit.eleven_point(*curve) if flavour == "voc07_11point" else devkit.area(*curve)
        assert report.ap[c] == pytest.approx(expected, abs=1e-12)


def test_perfect_scores_have_full_marks_and_a_class_without_objects_none(split: Split) -> None:
    report, _ = verdict(split, perfect_scores(split))
    assert report.classes == CLASSES
    assert report.ap == (1.0, 1.0, None)
    assert report.corloc == (1.0, 1.0, None)
    assert (report.mean_ap, report.mean_corloc, report.seconds_per_image) == (1.0, 1.0, 0.5)
    assert (report.num_test_images, report.num_train_images) == (4, 4)


def test_the_ap_flavour_and_the_overlap_of_a_match_are_the_configuration_s(split: Split) -> None:
    scores = perfect_scores(split)
    scores[3][0, 0] = 0.05  # the fourth cat comes after eight false alarms
    assert verdict(split, scores)[0].ap[0] == pytest.approx((8 + 3 * 4 / 12) / 11)
    by_area = CONFIG.model_copy(update={"ap": "area"})
    assert verdict(split, scores, by_area)[0].ap[0] == pytest.approx(3 / 4 + 1 / 4 * 4 / 12)
    larger = Split(split.annotated, {name: (BOXES * np.array([1, 1, 1, 1.1], np.float32)) for name in split.proposals})
    assert verdict(larger, perfect_scores(split))[0].ap[0] == 1.0
    assert verdict(larger, perfect_scores(split), CONFIG.model_copy(update={"match_iou": 0.95}))[0].ap[0] == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_the_first_error_mode_is_corloc(split: Split, seed: int) -> None:
    report, _ = verdict(split, chance_scores(split.annotated, split.proposals, seed=seed))
    assert report.error_modes is not None
    assert tuple(shares and shares[0] for shares in report.error_modes) == report.corloc
    assert report.mean_error_modes is not None
    assert report.mean_error_modes[0] == report.mean_corloc


def test_pixels_that_were_not_counted_are_left_open(split: Split) -> None:
    report, _ = verdict(split, perfect_scores(split))
    assert (report.segmentation, report.heatmap, report.num_masks) == (None, None, 0)


def test_detections_come_in_the_order_of_the_split(split: Split) -> None:
    _, detections = verdict(split, perfect_scores(split))
    assert [d.image_id for d in detections] == ["im0", "im1", "im2", "im3"]
    assert detections[1].boxes[0].tolist() == BOXES[1].tolist()


def test_without_a_training_split_corloc_is_left_open(split: Split) -> None:
    judged = judge(ScoredSplit(split.annotated, perfect_scores(split), split.proposals), None, CONFIG)
    report = judged.report
    assert report.corloc == (None, None, None)
    assert report.error_modes is judged.error_modes is None
    assert report.num_train_images == 0
    assert report.mean_ap == 1.0


def without_boxes(split: Split) -> Split:
    return Split(replace(split.annotated, annotations=None), split.proposals)


def test_without_boxes_only_detections_and_labels_are_judged(split: Split) -> None:
    bare, scores = without_boxes(split), perfect_scores(split)
    scored = ScoredSplit(bare.annotated, scores, bare.proposals)
    judged = judge(scored, scored, CONFIG)
    report = judged.report
    assert report.without_boxes == ("test", "train")
    assert (report.ap, report.corloc) == ((None,) * 3, (None,) * 3)
    assert (report.mean_ap, report.mean_corloc, report.error_modes, judged.class_aps) == (None, None, None, None)
    assert report.classification_ap == (1.0, 1.0, None)
    assert [one.image_id for one in judged.detections] == ["im0", "im1", "im2", "im3"]


def test_a_network_trained_on_labels_is_judged_where_boxes_exist(split: Split) -> None:
    bare, scores = without_boxes(split), perfect_scores(split)
    test = ScoredSplit(split.annotated, scores, split.proposals)
    report = judge(test, ScoredSplit(bare.annotated, scores, bare.proposals), CONFIG).report
    assert report.without_boxes == ("train",)
    assert (report.ap, report.corloc) == ((1.0, 1.0, None), (None,) * 3)


def test_two_splits_may_name_their_images_alike(split: Split) -> None:
    scores = perfect_scores(split)
    moved = ScoredSplit(split.annotated, scores, dict.fromkeys(split.proposals, BOXES[::-1]))
    report = judge(ScoredSplit(split.annotated, scores, split.proposals), moved, CONFIG).report
    assert report.ap == (1.0, 1.0, None)
    assert report.corloc[0] is not None
    assert report.corloc[0] < 1


def test_a_missing_image_is_named(split: Split) -> None:
    scores = perfect_scores(split)
    del scores[2]
    with pytest.raises(ValueError, match="split test: no scores for image im2"):
        verdict(split, scores)


def test_scores_of_another_shape_are_refused_by_the_image_s_name(split: Split) -> None:
    scores = perfect_scores(split) | {1: np.zeros((3, 4), np.float32)}
    with pytest.raises(ValueError, match="im1"):
        verdict(split, scores)


def test_shards_together_equal_the_whole(split: Split) -> None:
    def scored(*indices: int) -> dict[int, ScoredBoxes]:
        return score_images(
            brightness,
            split.annotated,
            split.proposals,
            config=CONFIG,
            max_side_px=2000,
            indices=indices,
            progress=lambda done, total: None,
        )

    whole, shards = scored(0, 1, 2, 3), scored(1, 3) | scored(0, 2) | scored()
    assert sorted(whole) == sorted(shards)
    for k, found in whole.items():
        np.testing.assert_array_equal(found.scores, shards[k].scores)
        assert found.scores[0, 0] == 50 * k


def test_progress_is_told_after_every_image(split: Split) -> None:
    told: list[tuple[int, int]] = []
    score_images(
        brightness,
        split.annotated,
        split.proposals,
        config=CONFIG,
        max_side_px=2000,
        indices=(3, 1, 0),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("scorer", "error", "named"),
    [
        (lambda images, boxes: ScoredProposals(boxes[:, :3] * float("nan")), TrainingDiverged, "im0"),
        (
            lambda images, boxes: ScoredProposals(boxes[:, :3], torch.full((len(boxes), 3, 4), float("nan"))),
            TrainingDiverged,
            "im0",
        ),
        (brightness, DatasetError, "0.png"),
    ],
)
def test_spoilt_weights_and_broken_images_are_named(
    split: Split, scorer: object, error: type[Exception], named: str
) -> None:
    if error is DatasetError:
        split.annotated.image_set.records[0].path.write_bytes(b"no image")
    with pytest.raises(error, match=named):
        score_images(
            scorer,  # type: ignore[arg-type]
            split.annotated,
            split.proposals,
            config=CONFIG,
            max_side_px=2000,
            indices=(0,),
            progress=lambda done, total: None,
        )


def test_chance_is_the_same_for_the_same_seed_however_it_is_shared(split: Split) -> None:
    whole = chance_scores(split.annotated, split.proposals, seed=3)
    part = chance_scores(split.annotated, split.proposals, seed=3, indices=(2,))
    np.testing.assert_array_equal(whole[2], part[2])
    assert whole[2].shape == (3, 3)
    assert not np.array_equal(whole[2], chance_scores(split.annotated, split.proposals, seed=4)[2])
    assert not np.array_equal(whole[2], whole[1])
