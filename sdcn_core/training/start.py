"""Where a run takes up its work: at the beginning, after a stage that others have trained, or where it was stopped."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.errors import CheckpointError
from sdcn_core.training.checkpoint import load_checkpoint
from sdcn_core.training.networks import Weights
from sdcn_core.training.plan import StagePlan
from sdcn_core.training.ranks import Ranks
from sdcn_core.training.stage_keys import stage_key
from sdcn_core.training.stage_store import StageStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """The beginning of a run, unless a field says otherwise."""

    global_step: int = 0
    """optimizer steps that are done, by whomever"""
    first_step: int = 0
    """the global step at which this run's own work began, before any interruption"""
    networks: Weights = field(default_factory=dict)
    """the parts that are not as they were initialized"""
    optimizers: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """of the stage under way, by player"""
    untrained: dict[str, Any] | None = None
    """the evaluation of the untrained network, where the run has one"""


def start_from_checkpoint(
    folder: Path, experiment: ExperimentConfig, *, classes: Sequence[str], plans: Sequence[StagePlan]
) -> Start:
    """Go on from a checkpoint.

    Args:
        folder: the checkpoint's.
        experiment: the one that wrote it.
        classes: of the data.
        plans: the stages that the run is to train.

    Raises:
        CheckpointError: it cannot be read, is of another experiment or other classes, or lies behind the stages.
    """
    checkpoint = load_checkpoint(folder, experiment, device=torch.device("cpu"))
    if checkpoint.classes != list(classes):
        raise CheckpointError(
            f"the checkpoint knows the classes {checkpoint.classes}, the data set has {list(classes)}:"
            " resume with the data that the run began with"
        )
    if checkpoint.global_step > plans[-1].end_step:
        raise CheckpointError(
            f"the checkpoint was written at step {checkpoint.global_step}, after the end of stage {plans[-1].stage}"
            f" (step {plans[-1].end_step}): go on from an earlier one, or train the run to a later stage"
        )
    log.info("resuming from step %d", checkpoint.global_step)
    return Start(
        global_step=checkpoint.global_step,
        first_step=checkpoint.first_step,
        networks=checkpoint.networks,
        optimizers=checkpoint.optimizers,
        untrained=checkpoint.untrained,
    )


def start_from_store(
    stages: StageStore,
    experiment: ExperimentConfig,
    *,
    classes: Sequence[str],
    plans: Sequence[StagePlan],
    ranks: Ranks,
) -> Start:
    """Go on from the last stage whose state every rank finds sound; the beginning where there is none. A collective."""
    for plan in reversed(plans):
        key = stage_key(experiment, plan.stage, num_workers=ranks.world_size)
        state = stages.load(key)
        if state is not None and state.classes != tuple(classes):
            log.warning(
                "state %s knows the classes %s, the data set has %s: it is not used", key, state.classes, tuple(classes)
            )
            state = None
        found_by_all = all(ranks.gather(state is not None))
        if state is not None and found_by_all:
            log.info("starting at step %d: stage %s is trained already (%s)", plan.end_step, plan.stage, key)
            return Start(global_step=plan.end_step, first_step=plan.end_step, networks=state.networks)
    return Start()
