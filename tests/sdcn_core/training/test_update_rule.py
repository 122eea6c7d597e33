"""The solver against a twin in plain Python: gradients of single images averaged, decayed, remembered, followed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.model import ModelConfig
from sdcn_core.config.schedule import ScheduleConfig
from sdcn_core.models.sdcn import SDCN
from sdcn_core.objective import SDCNObjective
from sdcn_core.structures.sample import Batch
from sdcn_core.training.networks import Networks
from sdcn_core.training.optimizers import (
    build_optimizer,
    detector_groups,
    keep_velocity,
    plain_groups,
    sdcn_rate,
    set_rate,
)
from sdcn_core.training.progress import Stage
from sdcn_core.training.steps import StepKey, alternation_step
from tests.sdcn_core.training.runs import Place, RecordingHooks, differing, run, weights
from tests.sdcn_core.training.small import SIDE_PX, players_of, random_batch, small_experiment, small_networks

DROP_AT, STEPS = 2, 4
SOLVER = {
    "schedule.optimizer": "sgd",
    "schedule.learning_rate": 1e-3,
    "schedule.momentum": 0.9,
    "schedule.weight_decay": 5e-2,  # large, so that it shows
    "schedule.bias_factor": 2.0,
    "schedule.refinement_factor": 10.0,
    "schedule.segmentation_factor": 3.0,
    "schedule.classifier_learning_rate": 5e-4,
    "schedule.decay_at_steps": [DROP_AT],
    "schedule.warmup_steps": 0,
    "schedule.clip_norm": None,
}


# --- the twin


@dataclass
class TwinParameter:
    """One tensor as numbers; learns by the rules of OICR's solver and prototxt, written out."""

    numbers: list[float]
    velocity: list[float] = field(default_factory=list)

    def learn(self, gradient: list[float], *, rate: float, momentum: float, decay: float, caffes: bool) -> None:
        if not self.velocity:
            self.velocity = [0.0] * len(self.numbers)
        for i, slope in enumerate(gradient):
            pull = slope + decay * self.numbers[i]
            if caffes:
                self.velocity[i] = momentum * self.velocity[i] + rate * pull
                self.numbers[i] -= self.velocity[i]
            else:
                self.velocity[i] = momentum * self.velocity[i] + pull
                self.numbers[i] -= rate * self.velocity[i]


def twin_rule(name: str, *, is_bias: bool, step: int) -> tuple[float, float]:
    """(rate, decay) of a parameter at a step of stage loop."""
    if name.startswith("classifier."):  # one rate for all of it, fixed
        return 5e-4, 0.0 if is_bias else 5e-2
    rate = 1e-3 if step < DROP_AT else 1e-4
    if name.startswith("sdcn.detection.refinement."):
        rate *= 10
    elif name.startswith("sdcn.segmentation."):
        rate *= 3
    return (2 * rate, 0.0) if is_bias else (rate, 5e-2)


# --- the solver


def named(networks: Networks) -> Iterator[tuple[str, torch.nn.Parameter]]:
    assert networks.classifier is not None
    for player, module in (("sdcn", networks.sdcn), ("classifier", networks.classifier)):
        yield from ((f"{player}.{name}", p) for name, p in module.named_parameters() if p.requires_grad)


def accumulate(networks: Networks, batches: tuple[Batch, ...], experiment: ExperimentConfig, step: int) -> None:
    networks.forget_gradients()
    alternation_step(
        players_of(networks),
        batches,
        SDCNObjective(experiment.objective, collaborate=True),
        stride=8,
        key=StepKey(0, Stage.LOOP, step),
        precision="fp32",
    )


def one_by_one(batch: Batch) -> list[Batch]:
    return [
        Batch((image_id,), batch.images[i : i + 1], batch.proposals[i : i + 1], batch.image_labels[i : i + 1])
        for i, image_id in enumerate(batch.image_ids)
    ]


def batches_of(step: int) -> tuple[Batch, Batch]:
    """Three images of a step: two of one size in one forward, one of another size."""
    pair, single = random_batch(10 + step, images=2), random_batch(50 + step, images=1)
    lower = torch.tensor([SIDE_PX, 40.0, SIDE_PX, 40.0])
    boxes = torch.minimum(single.proposals[0], lower)
    boxes[:, :2] = torch.minimum(boxes[:, :2], boxes[:, 2:] - 8)
    return pair, Batch(single.image_ids, single.images[:, :, :40], (boxes,), single.image_labels)


@pytest.mark.parametrize("caffes", [False, True], ids=["torch", "caffe"])
def test_weights_follow_the_twin_through_the_drop_over_images_of_different_sizes(caffes: bool) -> None:
    experiment = small_experiment(**SOLVER, **{"schedule.caffe_momentum": caffes})
    schedule = experiment.schedule
    networks = small_networks(experiment)
    assert networks.classifier is not None
    network = build_optimizer("sgd", detector_groups(networks.sdcn, schedule), momentum=schedule.momentum)
    classifier = build_optimizer(
        "sgd", plain_groups(networks.classifier, weight_decay=schedule.weight_decay), momentum=schedule.momentum
    )
    set_rate(classifier, schedule.classifier_learning_rate)
    twins = {name: TwinParameter(p.detach().double().flatten().tolist()) for name, p in named(networks)}
    for step in range(STEPS):
        batches = batches_of(step)
        images = [image for batch in batches for image in one_by_one(batch)]
        sums = {name: [0.0] * p.numel() for name, p in named(networks)}
        for image in images:
            accumulate(networks, (image,), experiment, step)
            for name, parameter in named(networks):
                if parameter.grad is not None:
                    sums[name] = [a + b for a, b in zip(sums[name], parameter.grad.flatten().tolist(), strict=True)]
        for name, parameter in named(networks):
            rate, decay = twin_rule(name, is_bias=parameter.ndim == 1, step=step)
            gradient = [value / len(images) for value in sums[name]]
            twins[name].learn(gradient, rate=rate, momentum=0.9, decay=decay, caffes=caffes)
        rate = sdcn_rate(schedule, Stage.LOOP, step)
        set_rate(network, rate)
        if schedule.caffe_momentum and step > 0:
            keep_velocity(network, before=sdcn_rate(schedule, Stage.LOOP, step - 1), after=rate)
        accumulate(networks, batches, experiment, step)
        network.step()
        classifier.step()
        for name, parameter in named(networks):
            expected = torch.tensor(twins[name].numbers).view_as(parameter)
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-4, atol=2e-6, msg=f"{name}, step {step}")


# --- in a run

TO_THE_DROP = small_experiment(
    **SOLVER,
    **{
        "schedule.backbone.steps": 0,
        "schedule.classifier.steps": 0,
        "schedule.apart_steps": 0,
        "schedule.loop_steps": STEPS,
        "schedule.report_every_steps": 1,
        "evaluation.baselines": False,
        "schedule.caffe_momentum": True,
    },
)


def rates(hooks: RecordingHooks) -> list[float]:
    return [report.metrics["rate/network"] for report in hooks.reports if "rate/network" in report.metrics]


def test_a_run_keeps_caffe_s_velocity_at_the_drop_and_also_when_it_is_resumed_there(
    tmp_path: Path, cache: Path
) -> None:
    _, unbroken = run(TO_THE_DROP, Place.below(tmp_path / "unbroken", cache))
    _, first = run(TO_THE_DROP, Place.below(tmp_path / "broken", cache), stop_at_step=DROP_AT - 1)
    assert first.reports[-1].global_step == DROP_AT
    _, second = run(TO_THE_DROP, Place.below(tmp_path / "resumed", cache), checkpoint=first.checkpoint)
    ended = weights(TO_THE_DROP, unbroken)
    assert differing(ended, weights(TO_THE_DROP, second)) == []
    torchs = TO_THE_DROP.with_overrides({"schedule.caffe_momentum": False})
    _, plain = run(torchs, Place.below(tmp_path / "torch", cache))
    apart = differing(ended, weights(torchs, plain))
    assert "detection.features.fc6.weight" in apart
    assert plain.losses()[DROP_AT] == unbroken.losses()[DROP_AT], "nothing differs before the drop"


@pytest.mark.parametrize("images_per_step", [1, 3])
def test_the_schedule_counts_optimizer_steps_however_many_images_and_forwards_a_step_has(
    tmp_path: Path, cache: Path, images_per_step: int
) -> None:
    experiment = TO_THE_DROP.with_overrides(
        {"schedule.images_per_step": images_per_step, "data.train_scales_px": [48, 64, 80]}
    )
    _, hooks = run(experiment, Place.below(tmp_path, cache))
    assert rates(hooks) == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])


# --- the paper's networks


def test_of_vgg16_conv1_and_conv2_are_in_no_group_and_the_groups_are_oicr_s() -> None:
    with torch.device("meta"):
        network = SDCN(ModelConfig(), 20, segmentation_branch=True, weights_root=None)
    groups = {str(group["name"]): group for group in detector_groups(network, ScheduleConfig())}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    members = {
        group: {names[id(p)] for p in content["params"]}  # type: ignore[attr-defined]
        for group, content in groups.items()
    }
    assert not [
        name for group in members.values() for name in group if name.startswith(("backbone.conv1", "backbone.conv2"))
    ]
    assert {"backbone.conv3_1.weight", "detection.features.fc6.weight", "detection.midn.select.weight"} <= members[
        "shared_weight"
    ]
    assert members["refinement_weight"] == {f"detection.refinement.heads.{k}.weight" for k in range(3)}
    assert members["refinement_bias"] == {f"detection.refinement.heads.{k}.bias" for k in range(3)}
    assert {(name, group["factor"], group["weight_decay"]) for name, group in groups.items()} == {
        ("shared_weight", 1.0, 5e-4),
        ("shared_bias", 2.0, 0.0),
        ("refinement_weight", 10.0, 5e-4),
        ("refinement_bias", 20.0, 0.0),
        ("segmentation_weight", 1.0, 5e-4),
        ("segmentation_bias", 2.0, 0.0),
    }
