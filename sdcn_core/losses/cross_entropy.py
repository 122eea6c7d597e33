"""Binary cross entropy of probabilities, for the losses that sum or average probabilities before they ask."""

from torch import Tensor


def probability_cross_entropy(probabilities: Tensor, labels: Tensor, *, eps: float) -> Tensor:
    """L_BCE of the paper, element by element.

    Written out because torch's own aborts the process on CUDA, and raises on a CPU, when a probability is NaN; here it
    comes out as NaN, on every rank alike, and the trainer says which loss it was and at which step.

    Args:
        probabilities: (K,) kept in [eps, 1 - eps] before the logarithm.
        labels: (K,) 0 or 1, of the same dtype.
        eps: > 1e-7, or the distance from 1 vanishes in float32.

    Returns:
        (K,) >= 0.
    """
    kept = probabilities.clamp(eps, 1 - eps)
    return -(labels * kept.log() + (1 - labels) * (-kept).log1p())
