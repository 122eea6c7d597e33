"""Fast R-CNN (Girshick 2015, section 2.3) and its regression targets (R-CNN, appendix C), box by box in plain loops.

Boxes are xyxy, half-open. C classes, background is class C.
"""

import math

from tests.reference.arithmetic import Numbers


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
