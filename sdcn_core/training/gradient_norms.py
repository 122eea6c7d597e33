"""How strongly each term of the objective pulls, measured beside the training and without a trace in it."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from sdcn_core.config.loss_names import LossName
from sdcn_core.objective import Losses


def gradient_norm(loss: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
    """Norm () of the gradient of a loss () with respect to the parameters, over all of them together.

    The graph stays for the backward that follows, and no `.grad` is touched; so under DistributedDataParallel nothing
    is exchanged. A loss that reaches no parameter has norm 0.
    """
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    if not learning or not loss.requires_grad:
        return loss.new_zeros(())
    gradients = torch.autograd.grad(loss, learning, retain_graph=True, allow_unused=True)
    norms = [torch.linalg.vector_norm(gradient) for gradient in gradients if gradient is not None]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else loss.new_zeros(())


def gradient_norms(terms: Mapping[LossName, Tensor], module: nn.Module) -> Losses:
    """`gradient_norm` of each term with respect to the module: one backward a term."""
    return {name: gradient_norm(term, module.parameters()) for name, term in terms.items()}
