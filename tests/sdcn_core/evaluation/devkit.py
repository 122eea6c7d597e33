"""Slow twins in plain Python: what the VOC devkit and OICR's tools say, one box at a time. Boxes: xyxy, half-open."""

from collections.abc import Sequence

Box = Sequence[float]
Found = tuple[int, float, Box]
"""image, score, box"""
Object = tuple[Box, bool]
"""box, difficult"""


def overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (both - width * height)


def precision_recall(
    found: Sequence[Found], objects: Sequence[Sequence[Object]], match_iou: float
) -> tuple[list[float], list[float]]:
    """Of one class; `objects` by image. Detections on difficult objects stand in no list."""
    total = sum(not difficult for image in objects for _, difficult in image)
    taken: set[tuple[int, int]] = set()
    right = wrong = 0
    precision, recall = [], []
    for image, _, box in sorted(found, key=lambda f: -f[1]):
        best, best_object = -1.0, -1
        for j, (other, _) in enumerate(objects[image]):
            if overlap(box, other) > best:
                best, best_object = overlap(box, other), j
        if best > match_iou:
            if objects[image][best_object][1]:
                continue
            if (image, best_object) in taken:
                wrong += 1
            else:
                taken.add((image, best_object))
                right += 1
        else:
            wrong += 1
        precision.append(right / (right + wrong))
        recall.append(right / total)
    return precision, recall


def eleven_point(precision: Sequence[float], recall: Sequence[float]) -> float:
    total = 0.0
    for tenth in range(11):
        # a tenth as voc_eval.py steps, 3 * 0.1 = 0.30000000000000004
        total += max((p for p, r in zip(precision, recall, strict=True) if r >= tenth * 0.1), default=0.0)
    return total / 11


def area(precision: Sequence[float], recall: Sequence[float]) -> float:
    total, before = 0.0, 0.0
    for i, r in enumerate(recall):
        total += (r - before) * max(precision[i:])
        before = r
    return total


def suppress(boxes: Sequence[Box], scores: Sequence[float], iou: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(overlap(boxes[i], boxes[k]) < iou for k in kept):
            kept.append(i)
    return kept


def select(
    scores: Sequence[Sequence[float]], boxes: Sequence[Sequence[Box]], *, iou: float, limit: int, cap: int
) -> list[list[int]]:
    """Of one class: per image the kept proposals, best first. `scores[image][proposal]`."""
    shortlists = [sorted(range(len(s)), key=lambda i: -s[i])[:limit] for s in scores]
    pool = sorted((scores[image][i] for image, rows in enumerate(shortlists) for i in rows), reverse=True)
    if len(pool) > cap:
        shortlists = [[i for i in rows if scores[k][i] > pool[cap - 1]] for k, rows in enumerate(shortlists)]
    return [
        [rows[j] for j in suppress([boxes[k][i] for i in rows], [scores[k][i] for i in rows], iou)]
        for k, rows in enumerate(shortlists)
    ]
