"""f^S. C classes, background last."""

import pytest
import torch
from torch import Tensor

from sdcn_core.config.model import SegmentationConfig
from sdcn_core.errors import BadInput
from sdcn_core.models.segmentation_branch import RefineBottleneck, SegmentationBranch

C = 3
CHANNELS = (3, 5, 6, 7)


def config(levels: int) -> SegmentationConfig:
    return SegmentationConfig(levels=levels, channels=8, bottleneck=4, groups=2)


@pytest.fixture
def features() -> tuple[Tensor, ...]:
    """Maps of a 96 x 80 px image at strides 2, 4, 8, 8."""
    grids = [(48, 40), (24, 20), (12, 10), (12, 10)]
    return tuple(torch.randn(2, d, h, w) for d, (h, w) in zip(CHANNELS, grids, strict=True))


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_maps_have_the_last_grid_and_sum_to_one(levels: int, features: tuple[Tensor, ...]) -> None:
    logits = SegmentationBranch(CHANNELS, C, config(levels))(features)
    assert logits.shape == (2, C + 1, 12, 10)
    torch.testing.assert_close(logits.softmax(dim=1).sum(dim=1), torch.ones(2, 12, 10))


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_every_parameter_and_every_level_read_gets_a_gradient(levels: int, features: tuple[Tensor, ...]) -> None:
    branch, maps = SegmentationBranch(CHANNELS, C, config(levels)), [x.requires_grad_() for x in features]
    branch(tuple(maps)).square().sum().backward()
    assert [name for name, p in branch.named_parameters() if p.grad is None] == []
    assert [x.grad is not None for x in maps] == [False] * (4 - levels) + [True] * levels


def test_level_i_from_the_finest_has_i_bottlenecks_and_one_more_fuses() -> None:
    branch = SegmentationBranch(CHANNELS, C, config(3))
    assert [len(tower) for tower in branch.towers] == [0, 1, 2]
    assert sum(isinstance(m, RefineBottleneck) for m in branch.modules()) == 4


def test_the_default_branch_on_vgg16_has_the_size_of_cpns() -> None:
    branch = SegmentationBranch((128, 256, 512, 512), 20, SegmentationConfig())
    assert branch.classify.weight.shape == (21, 256, 3, 3)
    assert branch.fuse.reduce.conv.weight.shape == (128, 768, 1, 1)
    assert branch.fuse.reduce.norm.num_groups == 32


def test_the_coarsest_map_is_heard_on_the_finest_level(features: tuple[Tensor, ...]) -> None:
    branch, heard = SegmentationBranch(CHANNELS, C, config(3)), []
    branch.towers[0].register_forward_hook(lambda module, args, output: heard.append(args[0]))
    branch(features)
    branch((*features[:-1], features[-1] + torch.randn(2, 7, 12, 10)))
    assert not torch.allclose(heard[0], heard[1])


def test_first_maps_are_nearly_uniform(features: tuple[Tensor, ...]) -> None:
    maps = SegmentationBranch(CHANNELS, C, config(3))(features).softmax(dim=1)
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / (C + 1)), rtol=0.5, atol=0)


def test_images_of_a_batch_do_not_see_each_other(features: tuple[Tensor, ...]) -> None:
    branch = SegmentationBranch(CHANNELS, C, config(3))
    alone = branch(tuple(x[1:] for x in features))
    torch.testing.assert_close(branch(features)[1:], alone, rtol=1e-4, atol=1e-5)


def test_more_levels_than_maps_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"segmentation\.levels is 4, but the backbone has 2 maps"):
        SegmentationBranch((3, 5), C, config(4))
