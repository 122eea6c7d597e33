"""The checkpoints of one training in a folder: whole, and only the newest."""

import logging
import shutil
from pathlib import Path

import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.training.checkpoint import load_checkpoint
from service.run_files.checkpoints import checkpoint_name, newest_first

log = logging.getLogger(__name__)

_NO_MEMORY = "can't allocate memory"
"""in a RuntimeError: how torch says that the CPU's memory does not suffice"""


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
        for old in newest_first(self._folder)[self._keep :]:
            shutil.rmtree(old)

    def newest(self, experiment: ExperimentConfig) -> Path | None:
        """The newest one that can be read and is the experiment's; damaged ones, and another's, are removed.

        Raises:
            Exception: memory, open files or the disk did not suffice to read one, which may be sound.
        """
        for folder in newest_first(self._folder):
            try:
                load_checkpoint(folder, experiment, device=torch.device("cpu"))
            except Exception as error:  # whatever else torch's unpickler stumbles over, the file is at fault
                if _may_pass(error) or _may_pass(error.__context__):
                    raise
                log.warning("checkpoint %s is passed over: %s", folder, error)
                shutil.rmtree(folder)
            else:
                return folder
        return None


def _may_pass(error: BaseException | None) -> bool:
    """Whether it says that the machine lacks something, rather than that the file does."""
    if isinstance(error, FileNotFoundError):
        return False
    return isinstance(error, MemoryError | OSError) or _NO_MEMORY in str(error)
