"""The checkpoints that a training keeps: folders named by their step, in its folder or in checkpoints/ below it."""

import secrets
from pathlib import Path
from typing import Literal

from service.errors import CheckpointNotFound

PREFIX = "step-"


def checkpoint_name(global_step: int) -> str:
    """A folder name for a checkpoint. Each time another: a replayed step writes it again, beside the old one."""
    return f"{PREFIX}{global_step:09d}-{secrets.token_hex(4)}"


def step_of(checkpoint: Path) -> int:
    """The global step at which a checkpoint folder was written."""
    return int(checkpoint.name.removeprefix(PREFIX).partition("-")[0])


def newest_first(folder: Path) -> list[Path]:
    """The checkpoint folders in a folder, by step and, of one step, by time."""
    return sorted(folder.glob(f"{PREFIX}*"), key=lambda path: (step_of(path), path.stat().st_mtime_ns), reverse=True)


def kept_checkpoints(training: Path) -> dict[int, Path]:
    """The checkpoints of a training by step, the newest first; of a step that was written twice the later one.

    Ray Train keeps those of a group of processes in the training's folder; a training in one process keeps its own in
    `checkpoints`. A folder that goes away while it is looked at is passed over.
    """
    try:
        found = [*newest_first(training), *newest_first(training / "checkpoints")]
    except FileNotFoundError:  # the training is at work and has removed an old one
        found = []
    kept: dict[int, Path] = {}
    for path in sorted(found, key=step_of, reverse=True):
        kept.setdefault(step_of(path), path)
    return kept


def checkpoint_at(training: Path, step: int | Literal["newest"]) -> Path:
    """The folder of the training's checkpoint of this step, or of its newest.

    Raises:
        CheckpointNotFound: it keeps none of this step; the message names those it keeps.
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
