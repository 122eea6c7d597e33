"""Time of one training step of OICR and of SDCN, side by side, where SDCN's goes, and what the shared forward of f_C
saves.

Measured: a whole optimizer step (forward, losses, backward, update of both players) on random images and random
proposals of the preset's sizes; no data loading. Each round times every variant once, in turn, so that a drift of the
machine hits all alike; the table shows medians over the rounds, and ratios of medians from this one run. The breakdown
times SDCN's parts on their own, forward and backward together where a part has both.

    python benchmarks/step_time.py [--preset scenes] [--rounds 40] [--threads 1] [--images 4] [--side 96] [--proposals
    96]
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.presets import PRESETS, preset
from sdcn_core.objective import SDCNObjective
from sdcn_core.structures.sample import Batch
from sdcn_core.training.networks import Networks
from sdcn_core.training.optimizers import build_optimizer, clip_gradients, detector_groups, plain_groups, set_rate
from sdcn_core.training.precision import float32_products
from sdcn_core.training.progress import Stage
from sdcn_core.training.steps import (
    Players,
    StepKey,
    adversarial_losses,
    alternation_step,
    present_maps,
    supervised_losses,
)

NUM_CLASSES = 6
OICR = {
    "objective.segmentation_branch": False,
    "objective.segmentation_instructs_detection": False,
    "objective.detection_instructs_segmentation": False,
}


class Contender:
    """Networks, optimizers and objective of one method, ready to step."""

    def __init__(self, experiment: ExperimentConfig, *, num_classes: int = NUM_CLASSES, device: str = "cpu") -> None:
        self.networks = Networks.build(experiment, num_classes, None)
        self.networks.to(torch.device(device))
        self.networks.freeze_norms()
        self.networks.train(True)
        self.objective = SDCNObjective(experiment.objective, collaborate=True)
        schedule = experiment.schedule
        self.schedule = schedule
        groups = [detector_groups(self.networks.sdcn, schedule)]
        if self.networks.classifier is not None:
            groups.append(plain_groups(self.networks.classifier, weight_decay=schedule.weight_decay))
        self.optimizers = [build_optimizer(schedule.optimizer, group, momentum=schedule.momentum) for group in groups]
        for optimizer in self.optimizers:
            set_rate(optimizer, 1e-5)
        self.players = Players(self.networks.sdcn, self.networks.classifier)

    def step(self, batch: Batch) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        stride = self.networks.sdcn.backbone.stride
        with float32_products(tf32=self.schedule.precision == "tf32"):
            alternation_step(
                self.players,
                (batch,),
                self.objective,
                stride=stride,
                key=StepKey(0, Stage.LOOP, 0),
                precision=self.schedule.precision,
            )
        clip_gradients(self.networks.sdcn, self.schedule.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()

    def classifier_shared(self, batch: Batch) -> None:
        """Both players' use of f_C as the trainer does it: one forward, two readings of its graph."""
        maps = present_maps(self._map_logits(batch), batch.image_labels)
        assert self.players.classifier is not None
        adversarial, own = adversarial_losses(
            self.players.classifier, batch, maps, self.objective, precision=self.schedule.precision
        )
        torch.autograd.grad(adversarial, maps.leaf, retain_graph=True)
        own.backward()

    def classifier_twice(self, batch: Batch) -> None:
        """The same as Algorithm 1 prints it: a forward for the generator, f_C fixed, and a forward for f_C."""
        classifier = self.players.classifier
        assert classifier is not None
        maps = present_maps(self._map_logits(batch), batch.image_labels)
        segmentation = self.objective.segmentation
        classifier.requires_grad_(False)
        owners = torch.cat([maps.owners, maps.owners])
        kept, erased = classifier(batch.images, torch.cat([maps.leaf, 1 - maps.leaf]), owners).chunk(2)
        pairs = zip(kept.split(maps.counts), erased.split(maps.counts), batch.image_labels, strict=True)
        torch.stack([segmentation.adversarial(*pair) for pair in pairs]).mean().backward()
        classifier.requires_grad_(True)
        for part in classifier.modules():  # frozen norms stay frozen
            if getattr(part, "frozen", False):
                part.requires_grad_(False)
        fixed = maps.leaf.detach()
        whole = fixed.new_ones((len(batch), *fixed.shape[1:]))
        owners = torch.cat([torch.arange(len(batch)), maps.owners])
        logits = classifier(batch.images, torch.cat([whole, 1 - fixed]), owners)
        erased_of = logits[len(batch) :].split(maps.counts)
        own = [segmentation.classifier(logits[b], erased_of[b], y) for b, y in enumerate(batch.image_labels)]
        torch.stack(own).mean().backward()

    def _map_logits(self, batch: Batch) -> torch.Tensor:
        stride = self.networks.sdcn.backbone.stride
        height, width = (-(-side // stride) for side in batch.images.shape[2:])
        return torch.randn(len(batch), NUM_CLASSES + 1, height, width)


def random_batch(images: int, side: int, proposals: int) -> Batch:
    corner = torch.rand(images, proposals, 2) * side * 0.6
    boxes = torch.cat([corner, (corner + side * (0.1 + 0.4 * torch.rand(images, proposals, 2))).clamp(max=side)], dim=2)
    labels = (torch.rand(images, NUM_CLASSES) < 0.25).float()
    labels[:, 0] = 1.0
    return Batch(tuple(map(str, range(images))), torch.rand(images, 3, side, side) * 255, tuple(boxes), labels)


def parts(sdcn: Contender) -> dict[str, Callable[[Batch], None]]:
    """SDCN's step in pieces; they overlap in nothing, and what is left is bookkeeping."""
    networks = sdcn.networks
    segmenter = networks.sdcn.segmentation
    assert segmenter is not None

    def extractor(batch: Batch) -> None:
        networks.sdcn.backbone(batch.images)[-1].sum().backward()

    def detection(batch: Batch) -> None:
        with torch.no_grad():
            x = networks.sdcn.backbone(batch.images)[-1]
        outputs = networks.sdcn.detection(x.requires_grad_(), batch.proposals)
        sum(o.midn_scores.sum() + sum(r.sum() for r in o.refinement_logits) for o in outputs).backward()

    def segmentation(batch: Batch) -> None:
        with torch.no_grad():
            features = networks.sdcn.backbone(batch.images)
        segmenter(tuple(f.requires_grad_() for f in features)).sum().backward()

    def losses(batch: Batch) -> None:
        with torch.no_grad():
            output = networks.sdcn(batch.images, batch.proposals)
        supervised_losses(
            output, batch, sdcn.objective, stride=networks.sdcn.backbone.stride, key=StepKey(0, Stage.LOOP, 0)
        )

    def extractor_twice(batch: Batch) -> None:
        with torch.no_grad():
            networks.sdcn.backbone(batch.images)

    return {
        "f_E forward + backward": extractor,
        "f_E forward (subtract from the next two)": extractor_twice,
        "f_D forward + backward": detection,
        "f_S forward + backward": segmentation,
        "targets, both arrows, losses (with a forward of all)": losses,
        "f_C for both players, one forward": sdcn.classifier_shared,
        "f_C for both players, two forwards": sdcn.classifier_twice,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="scenes", choices=PRESETS)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--proposals", type=int, default=96)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    experiment = preset(options.preset)
    sdcn = Contender(experiment)
    oicr = Contender(experiment.with_overrides(OICR))
    timed: dict[str, Callable[[Batch], None]] = {
        "oicr: whole step": oicr.step,
        "sdcn: whole step": sdcn.step,
        **parts(sdcn),
    }
    times: dict[str, list[float]] = {name: [] for name in timed}
    for round_number in range(options.rounds + 3):
        batch = random_batch(options.images, options.side, options.proposals)
        for name, function in timed.items():
            started = time.perf_counter()
            function(batch)
            if round_number >= 3:  # the first rounds compile and allocate
                times[name].append(1000 * (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"{options.preset}: {options.images} images of {options.side} px, {options.proposals} proposals each,"
        f" {NUM_CLASSES} classes,"
        f" {options.threads} thread(s), {options.rounds} rounds; {platform.machine()}, torch {torch.__version__}"
    )
    print(f"{'':<56}{'median ms':>10}{'min':>8}{'max':>8}")
    for name, values in times.items():
        print(f"{name:<56}{medians[name]:>10.1f}{min(values):>8.1f}{max(values):>8.1f}")
    print(f"sdcn / oicr: {medians['sdcn: whole step'] / medians['oicr: whole step']:.2f}")
    two, one = (medians[f"f_C for both players, {n}"] for n in ("two forwards", "one forward"))
    print(
        f"f_C, two forwards / one: {two / one:.2f};"
        f" a step with two would take {medians['sdcn: whole step'] + two - one:.1f} ms"
    )


if __name__ == "__main__":
    main()
