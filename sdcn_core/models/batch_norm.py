"""Batch norm whose batch is the whole step's, on however many ranks it lies; and which can be frozen for good."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

EPSILON = 1e-5
"""added to the variance"""
MOMENTUM = 0.1
"""share of a new batch in the running statistics"""


class BatchNorm(nn.Module):
    """Batch norm over B, H, W of (B, D, H, W); statistics are taken over all ranks of torch.distributed.

    While learning, r ranks with b images each compute what one rank with r * b images would, gradients included.
    Frozen (`freeze_norm`) or in eval mode it is a fixed affine map, `affine()`, that a convolution can absorb.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.frozen = False

    @property
    def uses_batch_statistics(self) -> bool:
        return self.training and not self.frozen

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale (D,) and shift (D,) of the map that the running statistics make, differentiable in weight and bias."""
        scale = self.weight * torch.rsqrt(self.running_var + EPSILON)
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        if not self.uses_batch_statistics:
            scale, shift = self.affine()
            return x * scale[:, None, None] + shift[:, None, None]
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return self._normalize_over_ranks(x)
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=True,
            momentum=MOMENTUM,
            eps=EPSILON,
        )

    def _normalize_over_ranks(self, x: Tensor) -> Tensor:
        x = x.float() if x.dtype is torch.bfloat16 else x  # a shorter count of cells would be a wrong one
        own_count = x.new_tensor([x.numel() / x.shape[1]])
        totals = _SumOverRanks.apply(torch.cat([x.sum(dim=(0, 2, 3)), own_count]))  # (D + 1)
        count = totals[-1].detach()
        mean = totals[:-1] / count  # (D)
        centred = x - mean[:, None, None]
        # A second round trip, for squares about the true mean: E[x^2] - E[x]^2 would lose the digits that make
        # two ranks agree with one.
        variance = _SumOverRanks.apply(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(variance * (count / (count - 1)), MOMENTUM)
        scale = self.weight * torch.rsqrt(variance + EPSILON)
        return centred * scale[:, None, None] + self.bias[:, None, None]


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all ranks. Every rank's loss depends on it, so gradients are summed too."""

    @staticmethod
    def forward(ctx: FunctionCtx, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class ConvNorm(nn.Module):
    """A convolution without bias and its batch norm; one convolution only, once the norm is fixed.

    Folding (w' = w * gamma / sigma, b' = beta - mean * gamma / sigma) is done anew in each forward, so that the
    weights keep learning below a frozen norm and no map-sized operation is paid for it.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        # A 1x1 kernel with a stride sees every stride-th pixel. Picking them first is the same convolution, and keeps
        # away from oneDNN's own way, whose backward writes past its memory on narrow channels-last maps (torch 2.13:
        # 8 channels, 64x64 cells).
        self.every = stride if kernel == 1 else 1
        stride = stride if kernel > 1 else 1
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.norm = BatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.every > 1:
            x = x[:, :, :: self.every, :: self.every].contiguous(memory_format=torch.channels_last)
        if self.norm.uses_batch_statistics:
            return self.norm(self.conv(x))
        scale, shift = self.norm.affine()
        weight = self.conv.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, shift, self.conv.stride, self.conv.padding)


def freeze_norms(module: nn.Module) -> None:
    """From now on, whatever .train() says, batch norms in `module` use their running statistics and learn nothing."""
    for part in module.modules():
        if isinstance(part, BatchNorm):
            part.frozen = True
            part.requires_grad_(False)
