"""Fast R-CNN's two losses (Girshick 2015, section 2.3). S RoIs of one image, C classes, background is class C."""

import torch.nn.functional as F
from torch import Tensor


def roi_class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """L_cls: cross entropy (), mean over RoIs.

    Args:
        logits: (S, C + 1).
        labels: (S,) int64 in [0, C].

    Returns:
        () >= 0; 0 with zero gradient where there is no RoI.
    """
    return F.cross_entropy(logits, labels, reduction="sum") / max(1, len(labels))


def roi_box_loss(deltas: Tensor, targets: Tensor, labels: Tensor, *, beta: float) -> Tensor:
    """L_loc: smooth L1 between the delta of a RoI's own class and its target, summed over the four numbers.

    Divided by all RoIs, background included, which has no box: so the two losses keep their balance however many RoIs
    are foreground, as in the authors' code.

    Args:
        deltas: (S, C, 4).
        targets: (S, 4), in the deltas' units.
        labels: (S,) int64 in [0, C].
        beta: differences below it count by their square, > 0; 1 in Fast R-CNN.

    Returns:
        () >= 0; 0 with zero gradient where no RoI is foreground.
    """
    foreground = (labels < deltas.shape[1]).nonzero().flatten()
    own = deltas[foreground, labels[foreground]]  # (foreground, 4)
    loss = F.smooth_l1_loss(own, targets[foreground], reduction="sum", beta=beta)
    return loss / max(1, len(labels))
