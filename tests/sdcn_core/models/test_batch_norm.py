import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sdcn_core.models.batch_norm import BatchNorm, ConvNorm, freeze_norms

RANKS = 2


def learnt_unit() -> ConvNorm:
    """A unit whose norm is far from the identity."""
    unit = ConvNorm(3, 5, 3, stride=2)
    for _ in range(20):
        unit(torch.randn(4, 3, 8, 8) * 3 + 2)
    nn.init.normal_(unit.norm.weight)
    nn.init.normal_(unit.norm.bias)
    return unit


def test_learning_it_equals_torchs_own_batch_norm() -> None:
    ours, theirs = BatchNorm(3), nn.BatchNorm2d(3)
    for _ in range(3):
        x = torch.randn(4, 3, 5, 6) * 2 + 1
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_a_folded_unit_equals_convolution_and_norm_one_after_the_other() -> None:
    unit, x = learnt_unit().eval(), torch.randn(2, 3, 9, 9)
    apart = copy.deepcopy(unit)
    unit(x).square().sum().backward()
    expected = apart.norm(apart.conv(x))
    expected.square().sum().backward()
    torch.testing.assert_close(unit(x), expected)
    torch.testing.assert_close(unit.conv.weight.grad, apart.conv.weight.grad, rtol=1e-4, atol=1e-4)


def test_a_frozen_norm_stays_frozen_in_train_mode() -> None:
    unit, x = learnt_unit(), torch.randn(2, 3, 9, 9)
    freeze_norms(unit)
    frozen, statistics = unit(x), unit.norm.running_mean.clone()
    unit.train()
    assert torch.equal(unit(x), frozen)
    assert torch.equal(unit.norm.running_mean, statistics)
    assert {name for name, p in unit.named_parameters() if p.requires_grad} == {"conv.weight"}


def small_net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(ConvNorm(3, 4, 3), nn.ReLU(), ConvNorm(4, 6, 1), nn.Flatten(), nn.Linear(6 * 16, 2))


def whole_batch() -> Tensor:
    images = torch.randn(2 * RANKS, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    return images * torch.arange(1, 2 * RANKS + 1)[:, None, None, None]  # ranks see different statistics


def outcome(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Gradients of a mean over images, and running statistics, after two steps' forwards."""
    net(images)
    (net(images).square().sum() / len(images)).backward()
    inner = net.module if isinstance(net, DistributedDataParallel) else net
    return {n: p.grad for n, p in inner.named_parameters()} | dict(inner.named_buffers())


def one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS)
    net = DistributedDataParallel(small_net())
    share = whole_batch()[rank::RANKS]
    torch.save(outcome(net, share), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.integration
def test_two_ranks_learn_what_one_with_the_whole_batch_would(tmp_path: Path) -> None:
    mp.spawn(one_rank, args=(str(tmp_path),), nprocs=RANKS)
    expected = outcome(small_net(), whole_batch())
    for rank in range(RANKS):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
