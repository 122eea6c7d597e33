"""Time of judging at the scale of VOC 2007 test, on one core, beside plain loops that count the same.

Rows are processor seconds of this process, the best of ROUNDS, for all 4,952 images and 20 classes. `twin` is the slow
twin of the tests, run once. Each pair must agree, or the benchmark fails.

- AP of the published detections of a YOLOv2 (shared folder, see tests/shared_material.py): matching and 11-point AP.
- Selection by either protocol from PROPOSALS made-up proposals an image, of which three quarters score above PCL's
  threshold in any class. Images are selected from one by one, but for the cap of a class, so SELECTED_IMAGES of them
  are timed, the twin sees TWIN_IMAGES, and both are scaled up. Below it the same with suppression in numpy, as where
  numba is not installed, one round. Then AP of what was selected, scaled up too.
- CorLoc and error modes of the same proposals, with the objects of VOC 2007 test.
- COCO's figures of the published detections, by pycocotools: there is no twin.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluation_speed
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.data.image_set import AnnotatedSet, ImageRecord, ImageSet
from sdcn_core.evaluation.average_precision import ClassAP, average_precision, match_detections
from sdcn_core.evaluation.coco import coco_figures
from sdcn_core.evaluation.comp4 import load_comp4
from sdcn_core.evaluation.corloc import ClassCorLoc, correct_localization, localize
from sdcn_core.evaluation.detections import detections_by_protocol
from sdcn_core.evaluation.error_modes import classify_best_boxes, count_error_modes
from sdcn_core.evaluation.nms import survivors_by_blocks
from sdcn_core.structures.annotation import Annotation, Detections
from tests.sdcn_core.evaluation import devkit
from tests.sdcn_core.evaluation.published import VOC_CLASSES, voc07_test_annotations
from tests.shared_material import SHARED

ROUNDS = 3
PROPOSALS = 2000
DISTINCT = 100
"""images that are made, and used again and again: all at once would take 1 GB"""
SELECTED_IMAGES = 500
TWIN_IMAGES = 2
C = len(VOC_CLASSES)
PUBLISHED = SHARED / "evalref" / "voc07_test_yolov2_run_a_epoch150"

Result = TypeVar("Result")
Proposals = tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]
"""scores (PROPOSALS, C) and boxes (PROPOSALS, 4) of each image"""


def timed(work: Callable[[], Result], rounds: int = ROUNDS) -> tuple[float, Result]:
    """Processor seconds of the best round, and what came of it."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return best, result


def row(name: str, seconds: float, twin: float | None, note: str = "") -> None:
    beside = "" if twin is None else f"{twin:>10.1f}{twin / seconds:>8.0f}"
    print(f"{name:<42}{seconds:>8.2f}{beside:<18}  {note}".rstrip(), flush=True)


# --- AP of published detections


def ap_row(name: str, truths: Sequence[Annotation], found: Sequence[Detections], *, scale: float = 1.0) -> None:
    def ours() -> tuple[ClassAP, ...]:
        matches = [match_detections(f, t, num_classes=C, match_iou=0.5) for f, t in zip(found, truths, strict=True)]
        return average_precision(matches, num_classes=C, flavour="voc07_11point")

    boxes = [
        [
            (image, float(one.scores[i]), one.boxes[i].tolist())
            for image, one in enumerate(found)
            for i in np.flatnonzero(one.classes == c)
        ]
        for c in range(C)
    ]
    objects = [
        [[(t.boxes[j].tolist(), bool(t.difficult[j])) for j in np.flatnonzero(t.classes == c)] for t in truths]
        for c in range(C)
    ]

    def twin() -> list[float]:
        return [devkit.eleven_point(*devkit.precision_recall(boxes[c], objects[c], 0.5)) for c in range(C)]

    seconds, mine = timed(ours)
    twin_seconds, slow = timed(twin, rounds=1)
    assert all(one.ap is not None and abs(one.ap - ap) < 1e-12 for one, ap in zip(mine, slow, strict=True))
    row(name, seconds * scale, twin_seconds * scale, f"{sum(map(len, boxes)) / len(truths):.0f} detections an image")


# --- from proposals


def made_up(count: int) -> Proposals:
    rng = np.random.default_rng(0)
    scores, boxes = [], []
    for _ in range(min(count, DISTINCT)):
        corners = rng.random((PROPOSALS, 2)) * [400, 280]
        far = np.minimum(corners + 16 + rng.random((PROPOSALS, 2)) * [250, 200], [500, 375])
        boxes.append(np.concatenate([corners, far], axis=1).round().astype(np.float32))
        scores.append((rng.random((PROPOSALS, C)) ** 8).astype(np.float32))
    return [scores[k % DISTINCT] for k in range(count)], [boxes[k % DISTINCT] for k in range(count)]


def selection_rows(protocol: str, proposals: Proposals, truths: list[Annotation]) -> None:
    scores, boxes = proposals
    config = EvaluationConfig.model_validate({"protocol": protocol})

    def ours(count: int) -> tuple[Detections, ...]:
        return detections_by_protocol([str(k) for k in range(count)], scores[:count], boxes[:count], config)

    def twin() -> list[list[int]]:
        """How many boxes of each class and image are kept."""
        listed, placed = [s.tolist() for s in scores[:TWIN_IMAGES]], [b.tolist() for b in boxes[:TWIN_IMAGES]]
        if protocol == "pcl":
            limits = {"threshold": config.pcl.score_threshold, "iou": config.pcl.nms_iou}
            kept = [
                devkit.select_of_image(s, b, limit=config.pcl.boxes_per_image, **limits)
                for s, b in zip(listed, placed, strict=True)
            ]
            return [[len(of_class) for of_class in image] for image in kept]
        cap = config.boxes_per_image_cap * TWIN_IMAGES
        by_class = [
            devkit.select(
                [[line[c] for line in s] for s in listed],
                placed,
                iou=config.nms_iou,
                limit=config.boxes_per_class,
                cap=cap,
            )
            for c in range(C)
        ]
        return [[len(by_class[c][k]) for c in range(C)] for k in range(TWIN_IMAGES)]

    twin_seconds, slow = timed(twin, rounds=1)
    assert [np.bincount(one.classes, minlength=C).tolist() for one in ours(TWIN_IMAGES)] == slow
    seconds, found = timed(lambda: ours(SELECTED_IMAGES))
    scale = len(scores) / SELECTED_IMAGES
    row(f"selection, protocol {protocol}", seconds * scale, twin_seconds * len(scores) / TWIN_IMAGES)
    with patch("sdcn_core.evaluation.nms.fastest_survivors", lambda: survivors_by_blocks):
        plain_seconds, same = timed(lambda: ours(SELECTED_IMAGES), rounds=1)
    for one, other in zip(found, same, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.scores, other.scores)
    row("the same without numba", plain_seconds * scale, None)
    ap_row(f"AP of what {protocol} selected", truths[:SELECTED_IMAGES], found, scale=scale)


def best_boxes_row(truths: list[Annotation], proposals: Proposals) -> None:
    images = list(zip(*proposals, truths, strict=True))

    def ours() -> tuple[tuple[ClassCorLoc, ...], list[list[int]]]:
        corloc = correct_localization([localize(*image, match_iou=0.5) for image in images], num_classes=C)
        modes = count_error_modes([classify_best_boxes(*image, match_iou=0.5) for image in images], num_classes=C)
        return corloc, [list(one.counts) for one in modes]

    def twin() -> list[list[int]]:
        counts = [[0] * 5 for _ in range(C)]
        for scores, boxes, truth in images:
            for c in set(truth.classes.tolist()):
                best = max(range(len(boxes)), key=lambda i: scores[i, c])
                objects = [box.tolist() for box, label in zip(truth.boxes, truth.classes, strict=True) if label == c]
                counts[c][devkit.error_mode(boxes[best].tolist(), objects)] += 1
        return counts

    seconds, (corloc, modes) = timed(ours)
    twin_seconds, slow = timed(twin, rounds=1)
    assert modes == slow
    assert [one.num_correct for one in corloc] == [of_class[0] for of_class in slow]
    row("CorLoc and error modes", seconds, twin_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("ap", "selection", "corloc", "coco"))
    only = parser.parse_args().only
    if not PUBLISHED.is_dir():
        parser.error(f"{PUBLISHED} is not there: SDCN_TEST_SHARED names the folder that holds evalref")
    by_id = voc07_test_annotations()
    truths = list(by_id.values())
    found = list(load_comp4(PUBLISHED / "det", VOC_CLASSES, list(by_id), split="test"))
    threads = os.environ.get("OMP_NUM_THREADS", "?")
    print(f"{len(truths):,} images, {C} classes; {platform.machine()}, NumPy {np.__version__}, {threads} thread(s)")
    print(f"{'':<42}{'s':>8}{'twin, s':>10}{'ratio':>8}")
    if only in (None, "ap"):
        ap_row("AP of published detections", truths, found)
    if only in (None, "selection", "corloc"):
        proposals = made_up(len(truths))
        for protocol in ("oicr", "pcl") if only != "corloc" else ():
            selection_rows(protocol, proposals, truths)
        if only != "selection":
            best_boxes_row(truths, proposals)
    if only in (None, "coco"):
        records = tuple(ImageRecord(image_id, Path(f"{image_id}.jpg"), 500, 500, ()) for image_id in by_id)
        split = AnnotatedSet(ImageSet("test", VOC_CLASSES, records), tuple(truths))
        seconds, _ = timed(lambda: coco_figures(split, found), rounds=1)
        row("COCO's figures", seconds, None)


if __name__ == "__main__":
    main()
