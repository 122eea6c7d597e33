"""The checkpoints that a training keeps: folders named by their step, in its folder or in checkpoints/ below it."""

import secrets
import time
from pathlib import Path
from typing import Literal

from service.checkpoint_storage import Place, asked, named_so
from service.errors import CheckpointNotFound

PREFIX = "step-"


def checkpoint_name(global_step: int) -> str:
    """A folder name for a checkpoint. Each time another: a replayed step writes it again, beside the old one, and its
    name comes later in the alphabet.
    """
    return f"{PREFIX}{global_step:09d}-{time.time_ns():016x}-{secrets.token_hex(2)}"


def step_of(checkpoint: Place) -> int:
    """The global step at which a checkpoint folder was written."""
    return int(checkpoint.name.removeprefix(PREFIX).partition("-")[0])


def newest_first(folder: Place) -> list[Place]:
    """The checkpoint folders in a folder, by step and, of one step, by time.

    Raises:
        FileNotFoundError: one goes away while it is looked at.
        CheckpointsUnavailable: the store does not answer.
    """
    with asked(folder):
        return sorted(
            named_so(folder, PREFIX), key=lambda path: (step_of(path), _written_at(path), path.name), reverse=True
        )


def _written_at(checkpoint: Place) -> float:
    if isinstance(checkpoint, Path):
        return checkpoint.stat().st_mtime
    return max((file.stat().st_mtime for file in checkpoint.iterdir()), default=0.0)  # of a file, to the second


def kept_checkpoints(training: Place) -> dict[int, Place]:
    """The checkpoints of a training by step, the newest first; of a step that was written twice the later one.

    Ray Train keeps those of a group of processes in the training's folder; a training in one process keeps its own in
    `checkpoints`. A folder that goes away while it is looked at is passed over.

    Args:
        training: its folder in the storage of checkpoints.

    Raises:
        CheckpointsUnavailable: the store does not answer.
    """
    try:
        found = [*newest_first(training), *newest_first(training / "checkpoints")]
    except FileNotFoundError:  # the training is at work and has removed an old one
        found = []
    kept: dict[int, Place] = {}
    for path in sorted(found, key=step_of, reverse=True):
        kept.setdefault(step_of(path), path)
    return kept


def checkpoint_at(training: Place, step: int | Literal["newest"]) -> Place:
    """The folder of the training's checkpoint of this step, or of its newest; `training` as for kept_checkpoints.

    Raises:
        CheckpointNotFound: it keeps none of this step; the message names those it keeps.
        CheckpointsUnavailable: the store does not answer.
    """
    kept = kept_checkpoints(training)
    if not kept:
        raise CheckpointNotFound("this training keeps no checkpoint: it has not come so far, or has left none")
    found = next(iter(kept)) if step == "newest" else step
    if found not in kept:
        raise CheckpointNotFound(
            f"this training keeps no checkpoint of step {step}; it keeps those of {', '.join(map(str, sorted(kept)))}"
        )
    return kept[found]
