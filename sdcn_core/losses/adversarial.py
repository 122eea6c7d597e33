"""The two players' losses on what f^C says of masked images.

C classes, P present classes: the positive ones, then background; rows follow `structures.labels.present_classes`.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sdcn_core.structures.labels import present_classes


def mask_adversarial_loss(
    kept_logits: Tensor, erased_logits: Tensor, image_labels: Tensor, *, reduction: Literal["mean", "sum"]
) -> Tensor:
    """The maps' side, eq. (11), summed over the present classes as in eq. (13).

    What a map keeps must show its class alone, what it leaves all the others. The background map must keep no
    class and leave every one: its labels are all zero and the image's own.

    Args:
        kept_logits: f^C(s_k * I), (P, C); the gradient goes to both logits.
        erased_logits: f^C((1 - s_k) * I), (P, C).
        image_labels: (C,) 0 or 1, of the logits' dtype.
        reduction: over the C classes of a row; rows are always summed, they are the sum over k of eq. (13).

    Returns:
        () >= 0.
    """
    num_classes = len(image_labels)
    identity = torch.eye(num_classes + 1, dtype=image_labels.dtype, device=image_labels.device)
    kept_labels = identity[present_classes(image_labels), :num_classes]  # (P, C), the background's row is zero
    erased_labels = image_labels * (1 - kept_labels)
    total = F.binary_cross_entropy_with_logits(kept_logits, kept_labels, reduction="sum")
    total = total + F.binary_cross_entropy_with_logits(erased_logits, erased_labels, reduction="sum")
    return total / num_classes if reduction == "mean" else total


def classifier_loss(
    whole_logits: Tensor, erased_logits: Tensor, image_labels: Tensor, *, reduction: Literal["mean", "sum"]
) -> Tensor:
    """The classifier's side: the image's labels must be seen in it and in what each map leaves of it, eqs. (14)(15).

    Args:
        whole_logits: f^C(I), (C,); the gradient goes to both logits.
        erased_logits: f^C((1 - s_k) * I), (P, C), one row a term of the sum; no rows leave the first term alone.
        image_labels: (C,) 0 or 1, of the logits' dtype.
        reduction: over the C classes of a term; terms are always summed.

    Returns:
        () >= 0.
    """
    logits = torch.cat([whole_logits[None], erased_logits])  # (1 + P, C)
    total = F.binary_cross_entropy_with_logits(logits, image_labels.expand_as(logits), reduction="sum")
    return total / len(image_labels) if reduction == "mean" else total
