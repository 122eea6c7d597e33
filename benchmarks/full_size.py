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

from benchmarks.full_size_counts import (
    GIGA,
    KNOBS,
    NUM_CLASSES,
    SCALES,
    Flops,
    counted_ratio,
    experiment_of,
    kept_table,
    part_costs,
    sides,
)
from benchmarks.step_time import Contender
from sdcn_core.config.schedule import Precision
from sdcn_core.structures.sample import Batch
from sdcn_core.training.precision import float32_products

PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")
METHODS = ("oicr", "sdcn")
SMALL_SIDE, SMALL_PROPOSALS = 64, 8
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
CASE_TIMEOUT_S = 3600


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
