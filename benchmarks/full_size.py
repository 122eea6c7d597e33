"""What a training step of OICR and of SDCN costs at the paper's size: VGG16-D8, ResNet-101, 2,000 proposals.

Measured, for each training scale, precision and setting of the memory knobs: the time of a whole optimizer step
(forward, losses, backward, update of both players; no data loading) on one random image with sides 3:4, its peak of
memory, and its FLOPs as torch counts them in the operators that run, recomputation included. OICR and SDCN step in
turn in one process, so that a drift of the machine hits both; each method's peak is of a process of its own, on a CPU
its resident set with the interpreter in it, on a GPU what torch allocates. A step on a small image goes before, which
compiles, loads kernels and allocates the momenta. Timed images have one and two positive classes in turn (VOC 2007 has
1.46 on average), those of peaks and FLOPs two.
The share is FLOPs a second over those of one large matrix product in the same precision, measured in the same process.

    python -m benchmarks.full_size [--device auto] [--scales 688] [--precisions fp32] [--knobs off on] [--timed off on]
        [--methods oicr sdcn] [--rounds 2] [--proposals 2000] [--threads 2] [--beside-others]
        [--output benchmarks/full_size.md] [--append]

On a GPU the default is every training scale and precision. With --beside-others, for a machine that does other work
too, no times are written, only their ratio within one process.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.step_time import OICR, Contender
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.presets import preset
from sdcn_core.config.schedule import Precision
from sdcn_core.structures.sample import Batch
from sdcn_core.training.networks import Networks
from sdcn_core.training.precision import float32_products

NUM_CLASSES = 20
SCALES = (480, 576, 688, 864, 1200)
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")
METHODS = ("oicr", "sdcn")
KNOBS: dict[str, dict[str, JsonValue]] = {
    "off": {},
    "on": {
        "model.backbone.recompute_blocks": True,
        "model.detection.proposal_chunk": 2000,
        "model.classifier.recompute_blocks": True,
        "model.classifier.mask_chunk": 1,
    },
}
SMALL_SIDE, SMALL_PROPOSALS = 64, 8
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
CASE_TIMEOUT_S = 3600
GIGA = 1e9


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    device: str
    scale: int
    precision: Precision
    knobs: str
    proposals: int
    rounds: int
    threads: int


# --- multiply-adds, from the modules' shapes


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


# --- one process


def random_image(scale: int, proposals: int, *, positives: int, device: str) -> Batch:
    height, width = sides(scale)
    extent = torch.tensor([width, height])
    corners = torch.rand(proposals, 2) * extent * 0.6
    boxes = torch.cat(
        [corners, torch.minimum(corners + extent * (0.1 + 0.4 * torch.rand(proposals, 2)), extent)], dim=1
    )
    labels = torch.zeros(1, NUM_CLASSES)
    labels[0, :positives] = 1
    images = torch.rand(1, 3, height, width) * 255
    return Batch(("random",), images.to(device), (boxes.to(device),), labels.to(device))


def contender(method: str, case: Case) -> Contender:
    """The method's networks, ready to step: kernels are loaded and momenta allocated."""
    ready = Contender(experiment_of(method, case.precision, case.knobs), num_classes=NUM_CLASSES, device=case.device)
    ready.step(random_image(SMALL_SIDE, SMALL_PROPOSALS, positives=1, device=case.device))
    return ready


def seconds(call: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure_peak(case: Case, method: str) -> dict[str, float]:
    """Bytes at the peak of one step, and its FLOPs: {"peak_bytes", "flops"}."""
    ready = contender(method, case)
    image = random_image(case.scale, case.proposals, positives=2, device=case.device)
    if case.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with Flops() as counter:
        ready.step(image)
    peak = (
        torch.cuda.max_memory_allocated()
        if case.device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {"peak_bytes": float(peak), "flops": float(counter.total)}


def measure_times(case: Case) -> dict[str, float]:
    """Median seconds of a step of each method, in turn, and FLOP/s of a matrix product: {"oicr", "sdcn", "matrix"}."""
    both = {method: contender(method, case) for method in METHODS}
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for number in range(case.rounds):
        image = random_image(case.scale, case.proposals, positives=1 + number % 2, device=case.device)
        for method, ready in both.items():
            times[method].append(seconds(partial(ready.step, image), case.device))
    return {method: statistics.median(values) for method, values in times.items()} | {"matrix": matrix_rate(case)}


def matrix_rate(case: Case) -> float:
    """FLOP/s of one large matrix product in the precision, the best of five."""
    side = MATRIX_SIDE[case.device]
    dtype = torch.bfloat16 if case.precision == "bf16" else torch.float32
    matrix = torch.rand(side, side, device=case.device, dtype=dtype)
    with float32_products(tf32=case.precision == "tf32"):
        best = min(seconds(lambda: matrix @ matrix, case.device) for _ in range(5))
    return 2 * side**3 / best


def child(case: Case, what: str) -> dict[str, float] | None:
    """`what` ("times" or a method, for its peak) measured in a process of its own; None where it fails."""
    order = json.dumps({**asdict(case), "what": what})
    command = [sys.executable, "-m", "benchmarks.full_size", "--child", order]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=CASE_TIMEOUT_S, check=False)
    if done.returncode:
        print(f"{what} of {case} failed with status {done.returncode}", file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_child(order: str) -> None:
    fields = json.loads(order)
    what = fields.pop("what")
    case = Case(**fields)
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    print(json.dumps(measure_times(case) if what == "times" else measure_peak(case, what)))


# --- the table


def rows(case: Case, found: Mapping[str, Mapping[str, float] | None], *, with_times: bool) -> list[str]:
    """The lines of one case, OICR's and SDCN's."""
    times, untimed = found.get("times"), "failed" if "times" in found else ""
    lines = []
    for method in (name for name in METHODS if name in found):
        peak = found[method]
        cells = [f"{case.scale}", case.precision, case.knobs, method.upper()]
        cells.append("failed" if peak is None else f"{peak['flops'] / 1e12:.2f}")
        cells.append("failed" if peak is None else f"{peak['peak_bytes'] / GIGA:.1f}")
        if with_times:
            cells.append(untimed if times is None else f"{times[method]:.3f}")
            known = times is not None and peak is not None
            cells.append(f"{peak['flops'] / times[method] / times['matrix']:.0%}" if known and times and peak else "")
        is_sdcn, both = method == "sdcn", [found.get(name) for name in METHODS]
        flops = [values["flops"] for values in both if values is not None]
        cells.append(f"{flops[1] / flops[0]:.2f}" if is_sdcn and len(flops) == len(METHODS) else "")
        cells.append(f"{times['sdcn'] / times['oicr']:.2f}" if is_sdcn and times is not None else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def header(*, with_times: bool) -> list[str]:
    cells = ["short side, px", "precision", "memory knobs", "method", "TFLOP a step", "peak, GB"]
    cells += ["s a step", "of the matrix peak"] if with_times else []
    cells += ["SDCN / OICR, FLOPs", "SDCN / OICR, time"]
    return ["| " + " | ".join(cells) + " |", "|" + "---|" * len(cells)]


def introduction(options: argparse.Namespace) -> list[str]:
    machine = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} threads"
    )
    costs = part_costs(688, proposals=2000, present=2)
    ratio = counted_ratio(688, proposals=2000, positives=1.458)
    return [
        "# Training steps at the paper's size",
        "",
        "What is measured and how is the docstring of [full_size.py](full_size.py), which wrote this file. What follows"
        " from it for a GPU is in",
        "[docs/full-size.md](../docs/full-size.md).",
        "",
        f"Machine: {machine}; torch {torch.__version__}."
        + (
            " It did other work at the same time: of times only ratios within one process."
            if options.beside_others
            else ""
        ),
        f"Measured over {options.rounds} round(s): one image, {options.proposals} proposals, {NUM_CLASSES} classes.",
        "",
        "Counted from the modules' shapes, 688 x 917 px, 2,000 proposals, one positive class, in 1e9 multiply-adds:",
        "; ".join(f"{name} {cost:.1f}" for name, cost in costs.items()) + ".",
        f"With VOC 2007's 1.458 positive classes SDCN / OICR is {ratio:.2f}.",
        "",
        "Counted in the same way, what SDCN's forward keeps until the backward, in GB of float32, with two positive",
        "classes and 2,000 proposals:",
        "",
        *kept_table(),
        "",
        "Measured:",
        "",
    ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--scales", type=int, nargs="+", default=None)
    parser.add_argument("--precisions", choices=PRECISIONS, nargs="+", default=None)
    parser.add_argument("--knobs", choices=KNOBS, nargs="+", default=list(KNOBS))
    parser.add_argument("--methods", choices=METHODS, nargs="+", default=list(METHODS), help="of which to take peaks")
    parser.add_argument("--timed", choices=KNOBS, nargs="*", default=list(KNOBS), help="knobs whose steps are timed")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--proposals", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--beside-others", action="store_true", help="the machine does other work: write no times")
    parser.add_argument("--output", type=Path, default=None, help="the Markdown file; printed in any case")
    parser.add_argument("--append", action="store_true", help="add rows to what an earlier call wrote")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    on_gpu = options.device == "cuda"
    options.scales = options.scales or (list(SCALES) if on_gpu else [688])
    options.precisions = options.precisions or (list(PRECISIONS) if on_gpu else ["fp32"])
    return options


def main() -> None:
    options = parse(sys.argv[1:])
    if options.child is not None:
        run_child(options.child)
        return
    with_times = not options.beside_others
    lines = [] if options.append else [*introduction(options), *header(with_times=with_times)]
    print("\n".join(lines), flush=True)
    for scale in options.scales:
        for precision in options.precisions:
            for knobs in options.knobs:
                case = Case(options.device, scale, precision, knobs, options.proposals, options.rounds, options.threads)
                measured = [*options.methods, "times"] if knobs in options.timed else options.methods
                found = {what: child(case, what) for what in measured}
                new = rows(case, found, with_times=with_times)
                print("\n".join(new), flush=True)
                lines += new
    if options.output is not None:
        with options.output.open("a" if options.append else "w") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
