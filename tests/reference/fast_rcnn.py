"""Fast R-CNN (Girshick 2015, section 2.3) and its regression targets (R-CNN, appendix C), box by box in plain loops.

Boxes are xyxy, half-open. C classes, background is class C.
"""

import math

from tests.reference.arithmetic import Numbers, box_iou, softmax


def delta(box: Numbers, target: Numbers) -> tuple[float, float, float, float]:
    """t_x = (G_x - P_x) / P_w, t_y likewise, t_w = log(G_w / P_w), t_h likewise; x and y are centres."""
    width, height = box[2] - box[0], box[3] - box[1]
    target_width, target_height = target[2] - target[0], target[3] - target[1]
    return (
        ((target[0] + target[2]) / 2 - (box[0] + box[2]) / 2) / width,
        ((target[1] + target[3]) / 2 - (box[1] + box[3]) / 2) / height,
        math.log(target_width / width),
        math.log(target_height / height),
    )


def moved(box: Numbers, by: Numbers) -> tuple[float, float, float, float]:
    """The box that a delta makes of a proposal: R-CNN's equations (1) to (4)."""
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = width * by[0] + (box[0] + box[2]) / 2, height * by[1] + (box[1] + box[3]) / 2
    new_width, new_height = width * math.exp(by[2]), height * math.exp(by[3])
    return x - new_width / 2, y - new_height / 2, x + new_width / 2, y + new_height / 2


def roi_of(
    roi: Numbers,
    boxes: list[Numbers],
    classes: list[int],
    *,
    num_classes: int,
    foreground_iou: float,
    background_iou: tuple[float, float],
) -> tuple[int, tuple[float, float, float, float] | None] | None:
    """Label and delta of a RoI, background has no delta; None where the RoI says nothing."""
    overlaps = [box_iou(roi, box) for box in boxes]
    best = max(range(len(boxes)), key=lambda j: (overlaps[j], -j))
    if overlaps[best] >= foreground_iou:
        return classes[best], delta(roi, boxes[best])
    return (num_classes, None) if background_iou[0] <= overlaps[best] < background_iou[1] else None


def class_loss(logits: list[list[float]], labels: list[int]) -> float:
    """L_cls = -log p_u, mean over RoIs."""
    return math.fsum(-math.log(softmax(row)[label]) for row, label in zip(logits, labels, strict=True)) / len(labels)


def smooth_l1(x: float, beta: float) -> float:
    """0.5 x^2 where |x| < 1, |x| - 0.5 elsewhere; beta takes the place of 1."""
    return 0.5 * x * x / beta if abs(x) < beta else abs(x) - 0.5 * beta


def box_loss(deltas: list[list[list[float]]], targets: list[list[float]], labels: list[int], beta: float) -> float:
    """[u >= 1] L_loc, the sum over x, y, w, h of smooth L1 of t^u - v, mean over all RoIs; background is the last u."""
    total = 0.0
    for of_roi, target, label in zip(deltas, targets, labels, strict=True):
        if label < len(of_roi):
            total += math.fsum(smooth_l1(t - v, beta) for t, v in zip(of_roi[label], target, strict=True))
    return total / len(labels)
