"""Parameter groups and learning rates of both players.

Rates are a pure function of the step, so that a schedule has no state to save and none to restore.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from sdcn_core.config.schedule import LabelTrainingConfig, ScheduleConfig
from sdcn_core.config.second_stage import SecondStageConfig
from sdcn_core.training.progress import Stage


@dataclass(frozen=True)
class GroupRule:
    """How one part of the network learns."""

    name: str
    prefix: str
    factor: float


def detector_groups(network: nn.Module, schedule: ScheduleConfig) -> list[dict[str, object]]:
    """OICR's groups (solver and train prototxt): weights x1 with decay, biases x2 without, refinements x10, f^S by its
    own factor. A second stage has neither refinements nor f^S: Fast R-CNN's groups are the rest.

    One-dimensional weights (norms) have no decay either. Frozen parameters belong to no group.
    """
    rules = (
        GroupRule("refinement", "detection.refinement.", schedule.refinement_factor),
        GroupRule("segmentation", "segmentation.", schedule.segmentation_factor),
        GroupRule("shared", "", 1.0),
    )
    groups: dict[str, dict[str, object]] = {}
    for name, parameter in _trainable(network):
        rule = next(rule for rule in rules if name.startswith(rule.prefix))
        is_bias = parameter.ndim == 1
        group = groups.setdefault(
            f"{rule.name}_{'bias' if is_bias else 'weight'}",
            {
                "params": [],
                "weight_decay": 0.0 if is_bias else schedule.weight_decay,
                "factor": rule.factor * (schedule.bias_factor if is_bias else 1.0),
            },
        )
        group["params"].append(parameter)  # type: ignore[attr-defined]
    return [{"name": name, **group} for name, group in groups.items()]


def plain_groups(module: nn.Module, *, weight_decay: float) -> list[dict[str, object]]:
    """Weights with decay, biases and norms without, one rate for all."""
    weights = [parameter for _, parameter in _trainable(module) if parameter.ndim > 1]
    biases = [parameter for _, parameter in _trainable(module) if parameter.ndim == 1]
    return [
        {"name": "weight", "params": weights, "weight_decay": weight_decay, "factor": 1.0},
        {"name": "bias", "params": biases, "weight_decay": 0.0, "factor": 1.0},
    ]


def build_optimizer(kind: str, groups: list[dict[str, object]], *, momentum: float) -> Optimizer:
    """SGD with momentum, or Adam. The rate is set before every step by `set_rate`."""
    match kind:
        case "sgd":
            return SGD(groups, lr=0.0, momentum=momentum)
        case "adam":
            return Adam(groups, lr=0.0)
        case _:
            raise ValueError(f"no optimizer {kind!r}; there are: sgd, adam")


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group its factor times the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def keep_velocity(optimizer: Optimizer, *, before: float, after: float) -> None:
    """Let momentum go on as it would in Caffe where a rate changes.

    Caffe's SGD remembers steps, v = mu v + rate g; torch's remembers gradients, v = mu v + g, and takes the step
    rate v. So torch's memory is multiplied by before / after, once, between the two. Adam has no such memory.

    Args:
        optimizer: of which all rates change alike.
        before: rate of the last step.
        after: rate of the step to come, > 0.
    """
    if before == after:
        return
    for state in optimizer.state.values():
        velocity = state.get("momentum_buffer")
        if velocity is not None:
            velocity.mul_(before / after)


def label_rate(config: LabelTrainingConfig, step: int) -> float:
    """Rate of the step (0-based) in a stage that learns image labels."""
    match config.decay:
        case "constant":
            return config.learning_rate
        case "cosine":
            return config.learning_rate * (1 + cos(pi * step / config.steps)) / 2
        case _:
            assert_never(config.decay)


def sdcn_rate(schedule: ScheduleConfig, stage: Stage, step: int) -> float:
    """Base rate of f^E, f^S and f^D at the step (0-based) of stage apart or loop.

    Warm-up lies at the start of whichever of the two stages comes first; decay counts steps of stage loop.
    """
    first = Stage.APART if schedule.apart_steps else Stage.LOOP
    rate = schedule.learning_rate
    if stage is first and step < schedule.warmup_steps:
        rate *= (step + 1) / schedule.warmup_steps
    if stage is Stage.LOOP:
        rate *= schedule.decay_factor ** sum(step >= drop for drop in schedule.decay_at_steps)
    return rate


def second_stage_rate(schedule: ScheduleConfig, config: SecondStageConfig, step: int) -> float:
    """Rate of a second stage at its step (0-based): it has its own drops, and the schedule's warm-up."""
    rate = schedule.learning_rate * schedule.decay_factor ** sum(step >= drop for drop in config.decay_at_steps)
    return rate * (step + 1) / schedule.warmup_steps if step < schedule.warmup_steps else rate


def clip_gradients(module: nn.Module, max_norm: float | None) -> Tensor:
    """Norm () of the whole gradient before it is clipped to max_norm; None measures only."""
    parameters = [parameter for parameter in module.parameters() if parameter.grad is not None]
    return torch.nn.utils.clip_grad_norm_(parameters, float("inf") if max_norm is None else max_norm)


def _trainable(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)
