"""The online instance classifiers f^D^r, eq. (5): each learns from the one before (OICR)."""

from torch import Tensor, nn

from sdcn_core.models.full_precision import in_float32
from sdcn_core.models.initialization import init_box_head, init_head


class Refinement(nn.Module):
    """K classifiers of proposals, background last.

    Args:
        in_features: F.
        num_classes: C, without background.
        refinements: K, may be 0.
        box_regression: whether each also says how a proposal becomes a box of each class (MIST).
    """

    def __init__(self, in_features: int, num_classes: int, refinements: int, *, box_regression: bool) -> None:
        super().__init__()
        self.heads = nn.ModuleList(init_head(nn.Linear(in_features, num_classes + 1)) for _ in range(refinements))
        self.box_heads = nn.ModuleList(
            init_box_head(nn.Linear(in_features, 4 * num_classes)) for _ in range(refinements if box_regression else 0)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """K times float32 logits (R, C + 1) of proposals (R, F)."""
        return tuple(in_float32(head, features).float() for head in self.heads)

    def deltas(self, features: Tensor) -> tuple[Tensor, ...]:
        """K times float32 (R, C, 4) in DELTA_UNITS, of proposals (R, F); none without box regression."""
        return tuple(in_float32(head, features).float().unflatten(1, (-1, 4)) for head in self.box_heads)
