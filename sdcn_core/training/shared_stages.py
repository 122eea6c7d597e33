"""Stages that several experiments begin with, trained once.

Ablations and sweeps train the same first stages many times. Randomness is a function of the seed, the stage and the
step, and every stage starts fresh optimizers, so that whoever takes over the weights after a stage goes on bit by bit
as if it had trained the stage itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.training.plan import plan_stages
from sdcn_core.training.progress import Stage
from sdcn_core.training.stage_keys import stage_key
from sdcn_core.training.stage_store import StageState, StageStore

__all__ = ["SharedStage", "StageState", "StageStore", "shared_stages", "stage_key"]


@dataclass(frozen=True)
class SharedStage:
    """One piece of training for several experiments: `run_training(experiment, until=stage, stages=store)`."""

    key: str
    """of the state that the piece leaves in the store"""
    stage: Stage
    """the last one of the piece, which trains all stages since `needs`"""
    experiment: ExperimentConfig
    """one of the users; up to this stage they are all the same"""
    needs: str | None
    """key of the piece that must be trained before; None: this one starts at the beginning"""
    used_by: tuple[str, ...]
    """names of the experiments that go on from here, at once or by way of later pieces"""


def shared_stages(experiments: Mapping[str, ExperimentConfig], *, num_workers: int) -> tuple[SharedStage, ...]:
    """The pieces that two or more experiments share, each after the one that it needs; `needs` makes a forest.

    A stage is no piece of its own where all its users share the next stage too.

    Args:
        experiments: by name.
        num_workers: ranks that train, of each piece as of each experiment.
    """
    chains = {
        name: [
            (plan.stage, stage_key(experiment, plan.stage, num_workers=num_workers)) for plan in plan_stages(experiment)
        ]
        for name, experiment in experiments.items()
    }
    users: dict[str, list[str]] = {}
    for name, chain in chains.items():
        for _, key in chain:
            users.setdefault(key, []).append(name)
    pieces: dict[str, SharedStage] = {}
    for depth in range(max(map(len, chains.values()), default=0)):
        for name, chain in chains.items():
            if depth >= len(chain):
                continue
            stage, key = chain[depth]
            followed = depth + 1 < len(chain) and users[chain[depth + 1][1]] == users[key]
            if key in pieces or len(users[key]) < 2 or followed:
                continue
            needs = next((earlier for _, earlier in reversed(chain[:depth]) if earlier in pieces), None)
            pieces[key] = SharedStage(key, stage, experiments[name], needs, tuple(users[key]))
    return tuple(pieces.values())
