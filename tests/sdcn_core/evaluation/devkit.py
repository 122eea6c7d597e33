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


def select_of_image(
    scores: Sequence[Sequence[float]], boxes: Sequence[Box], *, threshold: float, iou: float, limit: int
) -> list[list[int]]:
    """Of one image, PCL's way: by class the kept proposals, best first. `scores[proposal][class]`."""
    kept = []
    for c in range(len(scores[0])):
        above = [i for i in range(len(boxes)) if scores[i][c] > threshold]
        kept.append([above[j] for j in suppress([boxes[i] for i in above], [scores[i][c] for i in above], iou)])
    left = sorted((scores[i][c] for c, rows in enumerate(kept) for i in rows), reverse=True)
    if len(left) > limit:
        kept = [[i for i in rows if scores[i][c] >= left[limit - 1]] for c, rows in enumerate(kept)]
    return kept


def error_mode(box: Box, objects: Sequence[Box]) -> int:
    """Position among the five cases of appendix B.2."""
    inside = [all(_between(box, other)) for other in objects]
    contains = [all(_between(other, box)) for other in objects]
    overlaps = [overlap(box, other) for other in objects]
    if any(o > 0.5 for o in overlaps):
        return 0
    if any(yes and o > 0 for yes, o in zip(inside, overlaps, strict=True)):
        return 1
    if any(yes and o > 0 for yes, o in zip(contains, overlaps, strict=True)):
        return 2
    return 3 if any(o > 0 for o in overlaps) else 4


def _between(small: Box, large: Box) -> list[bool]:
    return [small[0] >= large[0], small[1] >= large[1], small[2] <= large[2], small[3] <= large[3]]


def heat_classes(scores: Sequence[Sequence[float]], boxes: Sequence[Box], height: int, width: int) -> list[list[int]]:
    """Argmax of S^det, eqs. (21)-(22), all classes over one maximum; boxes of whole pixels."""
    num_classes = len(scores[0])
    heat = [
        [
            [
                sum(s[c] for s, b in zip(scores, boxes, strict=True) if b[0] <= x < b[2] and b[1] <= y < b[3])
                for c in range(num_classes)
            ]
            for x in range(width)
        ]
        for y in range(height)
    ]
    peak = max(h for row in heat for cell in row for h in cell)
    given: list[list[int]] = []
    for row in heat:
        given.append([])
        for cell in row:
            channels = [h / peak if peak else 0.0 for h in cell]
            channels.append(1 - max(channels))
            given[-1].append(max(range(num_classes + 1), key=lambda c: channels[c]))
    return given


def enlarge(grid: Sequence[Sequence[float]], height: int, width: int) -> list[list[float]]:
    """Bilinear, pixel centres on pixel centres, edges repeated."""

    def taps(count: int, size: int, at: int) -> list[tuple[int, float]]:
        place = min(max((at + 0.5) * count / size - 0.5, 0.0), count - 1.0)
        low = int(place)
        return [(low, 1 - (place - low)), (min(low + 1, count - 1), place - low)]

    return [
        [
            sum(wy * wx * grid[j][i] for j, wy in taps(len(grid), height, y) for i, wx in taps(len(grid[0]), width, x))
            for x in range(width)
        ]
        for y in range(height)
    ]


def pixel_shares(
    pairs: Sequence[tuple[int, int]], num_classes: int
) -> tuple[list[float | None], list[float | None], list[float | None]]:
    """IoU, recall and precision of every class and background from (true class, given class) of all counted pixels."""
    iou: list[float | None] = []
    recall: list[float | None] = []
    precision: list[float | None] = []
    for c in range(num_classes + 1):
        true = sum(t == c for t, _ in pairs)
        given = sum(g == c for _, g in pairs)
        both = sum(t == g == c for t, g in pairs)
        iou.append(both / (true + given - both) if true else None)
        recall.append(both / true if true else None)
        precision.append((both / given if given else 0.0) if true else None)
    return iou, recall, precision
