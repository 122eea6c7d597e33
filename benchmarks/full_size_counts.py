"""What a training step at the paper's size costs, counted from the modules' shapes on torch's meta device: nothing is
computed, and no memory is taken.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.step_time import OICR
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.presets import preset
from sdcn_core.config.schedule import Precision
from sdcn_core.training.networks import Networks

NUM_CLASSES = 20
SCALES = (480, 576, 688, 864, 1200)
KNOBS: dict[str, dict[str, JsonValue]] = {
    "off": {},
    "on": {
        "model.backbone.recompute_blocks": True,
        "model.detection.proposal_chunk": 2000,
        "model.classifier.recompute_blocks": True,
        "model.classifier.mask_chunk": 1,
    },
}
GIGA = 1e9


def sides(scale: int) -> tuple[int, int]:
    """Height and width, px, of the 3:4 image whose shortest side is the scale.

    >>> sides(688)
    (688, 917)
    """
    return scale, round(scale * 4 / 3)


def experiment_of(method: str, precision: Precision, knobs: str) -> ExperimentConfig:
    """The published experiment from random weights."""
    sdcn = preset("voc2007_vgg16").with_overrides(
        {
            "model.backbone.weights": None,
            "model.classifier.weights": None,
            "schedule.precision": precision,
            **KNOBS[knobs],
        }
    )
    return sdcn.with_overrides(OICR) if method == "oicr" else sdcn


class Flops(TorchDispatchMode):
    """Adds up the FLOPs of convolutions and matrix products by torch's own formulas, backward and recomputation too.

    torch's FlopCounterMode also follows modules, which fails where a gradient stops at a module's input, as f_C's for
    the generator does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        output = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=output)
        return output


def multiply_adds(call: Callable[[], object]) -> float:
    """Of the call, 1e9."""
    with Flops() as counter:
        call()
    return counter.total / 2 / GIGA


def part_costs(scale: int, *, proposals: int, present: int) -> dict[str, float]:
    """1e9 multiply-adds of the parts of a step on one image, on no memory: torch's meta device has shapes alone.

    Args:
        scale: shortest side, px.
        proposals: N.
        present: P, the positive classes and background.
    """
    height, width = sides(scale)
    with torch.device("meta"):
        networks = Networks.build(experiment_of("sdcn", "fp32", "off"), NUM_CLASSES, None)
        images = torch.empty(1, 3, height, width)
        masks = torch.empty(2 * present + 1, -(-height // 8), -(-width // 8), requires_grad=True)
        owners = torch.zeros(2 * present + 1, dtype=torch.long)
        pooled = torch.empty(proposals, networks.sdcn.detection.features.fc6.in_features, requires_grad=True)
    networks.freeze_norms()
    backbone, segmentation, classifier = networks.sdcn.backbone, networks.sdcn.segmentation, networks.classifier
    assert segmentation is not None
    assert classifier is not None
    maps = tuple(torch.empty_like(m, requires_grad=True) for m in backbone(images))

    def forward_and_backward(forward: Callable[[], Tensor]) -> tuple[float, float]:
        return multiply_adds(forward), multiply_adds(lambda: forward().sum().backward())

    def game() -> None:
        logits = classifier(images, masks, owners)
        torch.autograd.grad(logits.sum(), masks, retain_graph=True)
        logits.sum().backward()

    extractor = forward_and_backward(lambda: backbone(images)[-1])
    heads = forward_and_backward(lambda: _heads(networks.sdcn.detection, pooled))
    branch = forward_and_backward(lambda: segmentation(maps))
    trunk = multiply_adds(lambda: classifier.trunk(images))
    return {
        "f_E forward": extractor[0],
        "f_E": extractor[1],
        "f_D forward": heads[0],
        "f_D": heads[1],
        "f_S forward": branch[0],
        "f_S": branch[1],
        "f_C before the masks, forward": trunk,
        "f_C of one mask, forward": (multiply_adds(lambda: classifier(images, masks, owners)) - trunk) / len(masks),
        "f_C": multiply_adds(game),
    }


def _heads(detection: nn.Module, pooled: Tensor) -> Tensor:
    layers = detection.get_submodule("features")
    hidden = layers.get_submodule("fc7")(layers.get_submodule("fc6")(pooled).relu()).relu()
    heads = [
        part for part in detection.modules() if isinstance(part, nn.Linear) and part.in_features == hidden.shape[1]
    ]
    return torch.cat([head(hidden) for head in heads if head is not layers.get_submodule("fc7")], dim=1)


def counted_ratio(scale: int, *, proposals: int, positives: float) -> float:
    """Multiply-adds of SDCN's step over those of OICR's, interpolated between whole numbers of positive classes."""
    below = int(positives)
    ratios = []
    for count in (below, below + 1):
        costs = part_costs(scale, proposals=proposals, present=count + 1)
        oicr = costs["f_E"] + costs["f_D"]
        ratios.append((oicr + costs["f_S"] + costs["f_C"]) / oicr)
    return ratios[0] + (positives - below) * (ratios[1] - ratios[0])


def kept_gigabytes(scale: int, *, proposals: int, present: int, knobs: str) -> dict[str, float]:
    """1e9 bytes of float32 that each part of SDCN's forward keeps until the backward, on one image.

    Of f_E, f_S and f_C as torch saves tensors on its meta device, each piece of memory once and parameters left out;
    of f_D, whose pooling has no meta form, from shapes. Arguments as of `part_costs`.
    """
    height, width = sides(scale)
    with torch.device("meta"):
        networks = Networks.build(experiment_of("sdcn", "fp32", knobs), NUM_CLASSES, None)
        images = torch.empty(1, 3, height, width)
        masks = torch.empty(2 * present + 1, -(-height // 8), -(-width // 8), requires_grad=True)
        owners = torch.zeros(2 * present + 1, dtype=torch.long)
    networks.freeze_norms()
    networks.train(True)
    sdcn, classifier = networks.sdcn, networks.classifier
    assert sdcn.segmentation is not None
    assert classifier is not None
    maps = tuple(m.detach().requires_grad_() for m in sdcn.backbone(images))
    layers = sdcn.detection.features
    pooled, hidden = proposals * layers.fc6.in_features, proposals * layers.fc7.in_features
    # Dropout's units are 2 bytes for both layers. Without chunks: pooled values and where they were, and of either
    # layer its output, the units as numbers, and their product.
    f_d = 4 * hidden + 2 * hidden if layers.chunk is not None else 8 * pooled + 6 * 4 * hidden + 2 * hidden
    return {
        "f_E": saved_bytes(sdcn.backbone, lambda: sdcn.backbone(images)[1:]) / GIGA,
        "f_D": f_d / GIGA,
        "f_S": saved_bytes(sdcn.segmentation, partial(sdcn.segmentation, maps)) / GIGA,
        "f_C": saved_bytes(classifier, partial(classifier, images, masks, owners)) / GIGA,
    }


def saved_bytes(module: nn.Module, forward: Callable[[], object]) -> int:
    """What a forward saves for its backward, the module's parameters left out."""
    parameters = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    saved: dict[int, Tensor] = {}  # tensors are held, or their memory would be used again and not be counted

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in parameters:
            saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()
    del output
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


def kept_table() -> list[str]:
    """What is kept until the backward, by scale and knobs."""
    lines = ["| short side, px | memory knobs | f_E | f_D | f_S | f_C | together |", "|---|---|---|---|---|---|---|"]
    for scale in SCALES:
        for knobs in KNOBS:
            kept = kept_gigabytes(scale, proposals=2000, present=3, knobs=knobs)
            numbers = [*kept.values(), sum(kept.values())]
            lines.append(f"| {scale} | {knobs} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |")
    return lines
