"""What is computed again instead of kept is the same, with less in memory until the backward."""

from collections.abc import Iterator
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from pydantic import JsonValue
from torch import Tensor, nn

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.model import DetectionConfig, ResNet101Classifier, Vgg16Backbone
from sdcn_core.config.schedule import Precision
from sdcn_core.models.adversarial_classifier import build_classifier
from sdcn_core.models.roi_features import RoiFeatures
from sdcn_core.models.roi_pool import roi_pool
from sdcn_core.models.vgg16 import Vgg16
from sdcn_core.objective import Losses, SDCNObjective
from sdcn_core.training.networks import Networks
from sdcn_core.training.progress import Stage
from sdcn_core.training.steps import Alternation, StepKey, alternation_step, label_step
from tests.sdcn_core.training.small import NUM_CLASSES, gradients, players_of, random_batch, small_experiment

PAPERS = small_experiment(
    **{
        "model.backbone": {"kind": "vgg16_d8", "frozen": "conv2"},
        "model.classifier": {"kind": "resnet101"},
        "model.segmentation.levels": 3,
        "model.detection.dropout": 0.5,
    }
)
"""the paper's extractor and classifier, with small branches"""
ALL: dict[str, JsonValue] = {
    "model.detection.proposal_chunk": 5,
    "model.backbone.recompute_blocks": True,
    "model.classifier.recompute_blocks": True,
    "model.classifier.mask_chunk": 2,
}
BATCH = random_batch(1, images=1, labels=[[0, 2]])


@cache
def networks_of(experiment: ExperimentConfig) -> Networks:
    networks = Networks.build(experiment, NUM_CLASSES, None)
    networks.freeze_norms()
    networks.train(True)
    return networks


def step(
    experiment: ExperimentConfig, *, precision: Precision = "fp32", measure_gradients: bool = False
) -> tuple[Alternation, dict[str, Tensor]]:
    """What a step of 12 proposals and 7 masks measured, and both players' gradients."""
    networks = networks_of(experiment)
    networks.forget_gradients()
    torch.manual_seed(5)  # dropout
    measured = alternation_step(
        players_of(networks),
        (BATCH,),
        SDCNObjective(experiment.objective, collaborate=True),
        stride=8,
        key=StepKey(seed=0, stage=Stage.LOOP, step=3),
        precision=precision,
        measure_gradients=measure_gradients,
    )
    assert networks.classifier is not None
    return measured, gradients(networks.sdcn) | gradients(networks.classifier)


def values(losses: Losses) -> dict[str, float]:
    return {name.value: loss.item() for name, loss in losses.items()}


def assert_near(ours: dict[str, Tensor], theirs: dict[str, Tensor], *, rel: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        # the second summand for biases of a softmax, whose gradients sum to zero
        assert (gradient - theirs[name]).norm() <= rel * theirs[name].norm() + 1e-6, name


def kept_bytes(module: nn.Module, *inputs: Tensor) -> int:
    """What a forward keeps until the backward, parameters left out; each piece of memory counts once."""
    parameters = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    kept: dict[int, Tensor] = {}  # tensors are held, or their memory would be used again

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in parameters:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(*inputs)
    del output
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.fixture(scope="module", autouse=True)
def _networks_go_with_the_module() -> Iterator[None]:
    yield
    networks_of.cache_clear()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_losses_are_the_same_and_gradients_up_to_rounding_with_dropout_on(precision: Precision) -> None:
    rounding = {"fp32": 1e-4, "bf16": 0.05}[precision]
    plain, plain_gradients = step(PAPERS, precision=precision)
    turned, turned_gradients = step(PAPERS.with_overrides(ALL), precision=precision)
    assert values(turned.losses) == pytest.approx(values(plain.losses), rel=rounding)
    assert_near(turned_gradients, plain_gradients, rel=rounding)


def test_the_norms_of_all_terms_are_measured_through_what_is_computed_again() -> None:
    plain, _ = step(PAPERS, measure_gradients=True)
    turned, turned_gradients = step(PAPERS.with_overrides(ALL), measure_gradients=True)
    assert values(turned.gradient_norms) == pytest.approx(values(plain.gradient_norms), rel=1e-4)
    assert_near(turned_gradients, step(PAPERS)[1], rel=1e-4)


@pytest.mark.parametrize("part", ["backbone", "classifier"])
def test_image_labels_are_learnt_the_same(part: str) -> None:
    found = []
    for experiment in (PAPERS, PAPERS.with_overrides(ALL)):
        networks = networks_of(experiment)
        networks.forget_gradients()
        module = {"backbone": networks.label_head, "classifier": networks.classifier}[part]
        assert module is not None
        loss = label_step(module, (random_batch(3),), image_size_px=None, reduction="sum", precision="fp32")
        found.append((loss.item(), gradients(module)))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    assert_near(found[1][1], found[0][1], rel=1e-4)


def test_vgg16_keeps_less_with_recomputed_blocks() -> None:
    with torch.device("meta"):
        images = torch.empty(1, 3, 480, 640)
        kept = [
            kept_bytes(Vgg16(Vgg16Backbone(recompute_blocks=on), weights_root=None), images) for on in (False, True)
        ]
    assert kept[1] < 0.7 * kept[0]


@pytest.mark.parametrize("knob", [{"recompute_blocks": True}, {"mask_chunk": 2}], ids=["blocks", "masks"])
def test_resnet101_keeps_less_with_either_knob(knob: dict[str, JsonValue]) -> None:
    with torch.device("meta"):
        inputs = torch.empty(1, 3, 480, 640), torch.empty(7, 60, 80), torch.zeros(7, dtype=torch.long)
        kept = [
            kept_bytes(build_classifier(config, 20, weights_root=None).train(), *inputs)
            for config in (ResNet101Classifier(), ResNet101Classifier.model_validate(knob))
        ]
    assert kept[1] < 0.85 * kept[0]


def test_hidden_layers_keep_less_with_chunks_of_proposals() -> None:
    boxes = torch.tensor([[0.0, 0.0, 8.0 * k, 40.0] for k in range(1, 6)]).repeat(20, 1)
    x = torch.randn(1, 64, 6, 5, requires_grad=True)
    kept = [
        kept_bytes(
            RoiFeatures(64, 8, DetectionConfig(hidden=16, proposal_chunk=chunk)),
            x,
            boxes,
            torch.zeros(100, dtype=torch.long),
        )
        for chunk in (None, 10)
    ]
    assert kept[1] < 0.1 * kept[0]


@pytest.mark.parametrize("chunk", [None, 3])
def test_dropout_leaves_the_units_that_torch_s_own_would_leave(chunk: int | None) -> None:
    torch.manual_seed(0)
    features = RoiFeatures(4, 8, DetectionConfig(roi_grid=3, hidden=16, dropout=0.3, proposal_chunk=chunk))
    x = torch.randn(1, 4, 6, 5, requires_grad=True)
    boxes = torch.tensor([[0.0, 0.0, 8.0 * k, 40.0] for k in range(1, 6)])
    owners = torch.zeros(5, dtype=torch.long)
    torch.manual_seed(1)
    ours = features(x, boxes, owners)
    torch.manual_seed(1)
    pooled = roi_pool(x, boxes, owners, stride=8, grid=3).flatten(1)
    hidden = F.dropout(F.relu(features.fc6(pooled)), 0.3)
    torch.testing.assert_close(ours, F.dropout(F.relu(features.fc7(hidden)), 0.3))


def test_at_test_time_all_proposals_pass_together(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = networks_of(PAPERS.with_overrides(ALL))
    seen: list[int] = []
    handle = networks.sdcn.detection.features.fc6.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    networks.sdcn.eval()
    networks.sdcn.detect(BATCH.images, BATCH.proposals)
    networks.sdcn.train()
    networks.sdcn(BATCH.images, BATCH.proposals)
    handle.remove()
    assert seen == [12, 5, 5, 2]
