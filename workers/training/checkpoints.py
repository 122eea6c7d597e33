"""The checkpoints of one training in a folder: named by their step, whole, and only the newest."""

import logging
import secrets
import shutil
from pathlib import Path

import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.training.checkpoint import load_checkpoint

log = logging.getLogger(__name__)

PREFIX = "step-"


def checkpoint_name(global_step: int) -> str:
    """A folder name for a checkpoint. Each time another: a replayed step writes it again, beside the old one."""
    return f"{PREFIX}{global_step:09d}-{secrets.token_hex(4)}"


def step_of(checkpoint: Path) -> int:
    """The global step at which a checkpoint folder was written."""
    return int(checkpoint.name.removeprefix(PREFIX).partition("-")[0])


class KeptCheckpoints:
    """The checkpoints of a training that runs in one process.

    Args:
        folder: made when needed.
        keep: the newest so many stay, at least 1.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def take(self, checkpoint: Path, global_step: int) -> None:
        """Move a checkpoint in, from the same file system, so that it is there whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        checkpoint.rename(self._folder / checkpoint_name(global_step))
        for old in self._newest_first()[self._keep :]:
            shutil.rmtree(old)

    def newest(self, experiment: ExperimentConfig) -> Path | None:
        """The newest one that can be read and is the experiment's; damaged ones are removed."""
        for folder in self._newest_first():
            try:
                load_checkpoint(folder, experiment, device=torch.device("cpu"))
            except Exception as error:  # whatever torch's unpickler stumbles over, the file is at fault
                log.warning("checkpoint %s is passed over: %s", folder, error)
                shutil.rmtree(folder)
            else:
                return folder
        return None

    def _newest_first(self) -> list[Path]:
        folders = self._folder.glob(f"{PREFIX}*")
        return sorted(folders, key=lambda path: (step_of(path), path.stat().st_mtime_ns), reverse=True)
