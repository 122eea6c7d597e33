"""Which numbers are short under schedule.precision, and which are not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sdcn_core import objective as objective_room
from sdcn_core.config.schedule import Precision
from sdcn_core.models import roi_pool_numba, roi_pool_reference
from sdcn_core.models.initialization import HEAD_DEVIATION
from sdcn_core.objective import Losses, SDCNObjective
from sdcn_core.training import learning
from sdcn_core.training.judging import Judge
from sdcn_core.training.networks import Networks
from sdcn_core.training.precision import float32_products
from sdcn_core.training.progress import Stage
from sdcn_core.training.steps import StepKey, alternation_step, label_step
from tests.sdcn_core.training.runs import Place, differing, run
from tests.sdcn_core.training.small import gradients, players_of, random_batch, small_experiment, small_networks

EXPERIMENT = small_experiment()
LOOP = SDCNObjective(EXPERIMENT.objective, collaborate=True)
KEY = StepKey(seed=0, stage=Stage.LOOP, step=3)
OBJECTIVE_PARTS = (
    "apply_segmentation_prior",
    "background_heatmap",
    "binarize_maps",
    "classifier_loss",
    "detection_heatmap",
    "mask_adversarial_loss",
    "mask_presence_loss",
    "mil_loss",
    "mine_instances",
    "mine_pixels",
    "pixel_label_loss",
    "refinement_loss",
    "segmentation_prior",
)
"""all that the objective calls: losses, targets, both arrows"""
DEFAULTS = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)


def step(networks: Networks, precision: Precision) -> Losses:
    for module in (networks.sdcn, networks.classifier):
        assert module is not None
        module.zero_grad(set_to_none=True)
    batch = random_batch(1, labels=[[0, 2], [1]])
    return alternation_step(players_of(networks), (batch,), LOOP, stride=8, key=KEY, precision=precision).losses


def floating(values: object) -> Iterator[Tensor]:
    """The floating-point tensors in arguments or in what was returned."""
    if isinstance(values, Tensor):
        if values.is_floating_point():
            yield values
    elif isinstance(values, list | tuple | dict):
        for value in values.values() if isinstance(values, dict) else values:
            yield from floating(value)
    elif is_dataclass(values) and not isinstance(values, type):
        yield from floating([getattr(values, field.name) for field in fields(values)])


@dataclass
class Spy:
    """Notes the dtypes that go into a function and come out of it."""

    function: Callable[..., object]
    seen: set[torch.dtype]

    def __call__(self, *args: object, **kwargs: object) -> object:
        output = self.function(*args, **kwargs)
        self.seen |= {tensor.dtype for tensor in floating([args, kwargs, output])}
        return output


@contextmanager
def outputs_of(module: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> Iterator[dict[str, Tensor]]:
    found: dict[str, Tensor] = {}
    handles = [
        part.register_forward_hook(lambda _, __, output, name=name: found.update({name: output}))
        for name, part in module.named_modules()
        if isinstance(part, kinds)
    ]
    yield found
    for handle in handles:
        handle.remove()


def test_losses_and_gradients_of_a_bf16_step_are_near_those_of_fp32() -> None:
    networks = small_networks(EXPERIMENT)
    exact = step(networks, "fp32")
    exact_gradients = gradients(networks.sdcn) | gradients(networks.classifier)
    short = step(networks, "bf16")
    short_gradients = gradients(networks.sdcn) | gradients(networks.classifier)
    assert exact.keys() == short.keys()
    for name, loss in exact.items():
        assert short[name].item() == pytest.approx(loss.item(), rel=0.02), name
        assert short[name].item() != loss.item(), f"{name} is not computed from bfloat16 at all"
    assert exact_gradients.keys() == short_gradients.keys()
    for name, gradient in short_gradients.items():
        assert gradient.dtype is torch.float32, name
        assert torch.isfinite(gradient).all(), name
    together = [torch.cat([g.flatten() for g in found.values()]) for found in (exact_gradients, short_gradients)]
    assert torch.cosine_similarity(*together, dim=0) > 0.99


def test_convolutions_and_hidden_layers_are_short_in_bf16_and_layers_that_end_in_scores_are_not() -> None:
    networks = small_networks(EXPERIMENT)
    assert networks.classifier is not None
    both = nn.ModuleDict({"sdcn": networks.sdcn, "classifier": networks.classifier})
    with outputs_of(both, (nn.Linear, nn.Conv2d)) as outputs:
        step(networks, "bf16")
    full = {name for name, output in outputs.items() if output.dtype is torch.float32}
    heads = {
        name
        for name, part in both.named_modules()
        if name in outputs and isinstance(part, nn.Linear | nn.Conv2d) and part.weight.std() < 1.5 * HEAD_DEVIATION
    }
    assert full == heads
    assert {"sdcn.detection.midn.select", "sdcn.segmentation.classify", "classifier.tail.classify"} <= heads
    assert outputs["sdcn.detection.features.fc6"].dtype is torch.bfloat16
    assert outputs["sdcn.detection.features.fc7"].dtype is torch.bfloat16
    assert outputs["sdcn.segmentation.laterals.0.conv"].dtype is torch.bfloat16


def test_the_extractor_s_maps_are_short_in_bf16_and_roi_pooling_takes_them_in_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    networks = small_networks(EXPERIMENT)
    maps: list[Tensor] = []
    networks.sdcn.backbone.register_forward_hook(lambda _, __, output: maps.extend(output))
    seen: set[torch.dtype] = set()
    for kernels in (roi_pool_numba, roi_pool_reference):
        for way in ("forward", "backward"):
            monkeypatch.setattr(kernels, way, Spy(getattr(kernels, way), seen))
    step(networks, "bf16")
    assert {m.dtype for m in maps} == {torch.bfloat16}
    assert seen == {torch.float32}


def test_losses_targets_and_both_arrows_see_float32_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[torch.dtype]] = {name: set() for name in OBJECTIVE_PARTS}
    for name in OBJECTIVE_PARTS:
        monkeypatch.setattr(objective_room, name, Spy(getattr(objective_room, name), seen[name]))
    step(small_networks(EXPERIMENT), "bf16")
    assert seen == {name: {torch.float32} for name in OBJECTIVE_PARTS}


@pytest.mark.parametrize("part", ["backbone", "classifier"])
def test_image_labels_are_learnt_in_bf16_from_float32_logits(part: str) -> None:
    networks = Networks.build(EXPERIMENT, 4, None)  # norms learn
    module = {"backbone": networks.label_head, "classifier": networks.classifier}[part]
    assert module is not None
    logits: list[Tensor] = []
    module.register_forward_hook(lambda _, __, output: logits.append(output))
    losses: dict[str, float] = {}
    for precision in ("fp32", "bf16"):
        loss = label_step(module, (random_batch(3),), image_size_px=64, reduction="sum", precision=precision)
        losses[precision] = loss.item()
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert {value.dtype for value in logits} == {torch.float32}


def test_a_whole_run_in_bf16_stays_near_the_one_in_fp32(tmp_path: Path, cache: Path) -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        experiment = small_experiment(**{"schedule.precision": precision, "evaluation.baselines": False})
        outcome, hooks = run(experiment, Place.below(tmp_path / precision, cache))
        assert outcome.results is not None
        found[precision] = hooks.losses()
    assert found["bf16"].keys() == found["fp32"].keys()
    for at, losses in found["fp32"].items():
        assert found["bf16"][at] == pytest.approx(losses, rel=0.1, abs=1e-3), f"step {at}"


def test_without_a_gpu_tf32_is_fp32_bit_by_bit() -> None:
    networks = small_networks(EXPERIMENT)
    step(networks, "fp32")
    exact = gradients(networks.sdcn)
    with float32_products(tf32=True):
        step(networks, "tf32")
    assert differing(exact, gradients(networks.sdcn)) == []


@pytest.mark.parametrize(("precision", "while_training"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_a_gpu_s_tf32_units_are_used_by_steps_alone_and_only_where_asked_for(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision, while_training: bool
) -> None:
    seen: dict[str, set[tuple[bool, bool]]] = {"step": set(), "judging": set()}

    def noting(kind: str, function: Callable[..., object]) -> Callable[..., object]:
        def noted(*args: object, **kwargs: object) -> object:
            seen[kind].add((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
            return function(*args, **kwargs)

        return noted

    for name in ("label_step", "alternation_step"):
        monkeypatch.setattr(learning, name, noting("step", getattr(learning, name)))
    monkeypatch.setattr(Judge, "trained", noting("judging", Judge.trained))
    run(small_experiment(**{"schedule.precision": precision}), Place.below(tmp_path, cache))
    assert seen == {"step": {(while_training, while_training)}, "judging": {(False, False)}}
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == DEFAULTS


def test_the_flags_are_as_before_after_an_error() -> None:
    with pytest.raises(KeyError), float32_products(tf32=True):
        raise KeyError
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == DEFAULTS
