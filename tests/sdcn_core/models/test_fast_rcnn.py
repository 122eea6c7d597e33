from pathlib import Path

import pytest
import torch
from torch import Tensor

from sdcn_core.config.model import ModelConfig, Vgg16Backbone
from sdcn_core.config.presets import preset
from sdcn_core.config.second_stages import fast_rcnn
from sdcn_core.errors import WeightsError
from sdcn_core.models.fast_rcnn import FastRCNN
from sdcn_core.models.saved import load_model, save_model
from sdcn_core.models.vgg16 import Vgg16

C = 4
CLASSES = ("cat", "dog", "cow", "hen")
ROIS = (torch.tensor([[0.0, 0, 40, 40], [8, 8, 60, 30], [1, 2, 9, 60]]), torch.tensor([[5.0, 5, 50, 60]]))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64) * 255


def built(config: ModelConfig) -> FastRCNN:
    return FastRCNN(config, C, weights_root=None)


def test_each_roi_has_a_logit_of_every_class_and_background_and_a_delta_of_every_class(
    small_config: ModelConfig, images: Tensor
) -> None:
    outputs = built(small_config)(images, ROIS)
    assert [tuple(output.logits.shape) for output in outputs] == [(3, C + 1), (1, C + 1)]
    assert [tuple(output.deltas.shape) for output in outputs] == [(3, C, 4), (1, C, 4)]


def test_an_image_s_rois_say_the_same_alone_and_in_a_batch(small_config: ModelConfig, images: Tensor) -> None:
    network = built(small_config).eval()
    together, alone = network(images, ROIS)[1], network(images[1:], ROIS[1:])[0]
    torch.testing.assert_close(together.logits, alone.logits)
    torch.testing.assert_close(together.deltas, alone.deltas)


def test_heads_begin_small_so_that_boxes_begin_as_their_proposals(small_config: ModelConfig) -> None:
    branch = built(small_config).detection
    assert branch.classify.weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert branch.regress.weight.std().item() == pytest.approx(0.001, rel=0.3)
    assert not branch.classify.bias.any()
    assert not branch.regress.bias.any()


def test_detecting_gives_deltas_their_mean_and_deviation_back_and_drops_background(
    small_config: ModelConfig, images: Tensor
) -> None:
    network = built(small_config).eval()
    network.detection.delta_means += torch.arange(4 * C).view(C, 4)
    network.detection.delta_stds *= 3
    for found, output in zip(network.detect(images, ROIS), network(images, ROIS), strict=True):
        torch.testing.assert_close(found.scores, output.logits.softmax(dim=1)[:, :C])
        torch.testing.assert_close(found.deltas, 3 * output.deltas + torch.arange(4.0 * C).view(C, 4))
        assert not found.scores.requires_grad


def test_vgg16_at_stride_16_has_pool4_and_no_holes(images: Tensor) -> None:
    network = Vgg16(Vgg16Backbone(frozen="none", stride=16), weights_root=None)
    assert network.strides == (2, 4, 8, 16)
    assert [tuple(x.shape[1:]) for x in network(images)] == [(128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
    assert network.get_submodule("conv5_1").dilation == (1, 1)
    assert Vgg16(Vgg16Backbone(frozen="none"), weights_root=None).strides == (2, 4, 8, 8)


def test_a_saved_fast_rcnn_is_one_again(tmp_path: Path) -> None:
    experiment = fast_rcnn(preset("tiny"))
    network = FastRCNN(experiment.model, C, weights_root=None)
    network.detection.delta_stds *= 2
    save_model(tmp_path / "model.pt", experiment=experiment, classes=CLASSES, weights=network.state_dict())
    saved = load_model(tmp_path / "model.pt")
    assert isinstance(saved.network, FastRCNN)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in saved.network.state_dict().items())


def test_the_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    experiment = preset("tiny")
    network = FastRCNN(fast_rcnn(experiment).model, C, weights_root=None)
    save_model(tmp_path / "model.pt", experiment=experiment, classes=CLASSES, weights=network.state_dict())
    with pytest.raises(WeightsError, match="do not fit its experiment"):
        load_model(tmp_path / "model.pt")
