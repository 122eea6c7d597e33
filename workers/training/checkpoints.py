"""The checkpoints of one training in a folder: whole, and only the newest."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.training.checkpoint import load_checkpoint
from service.checkpoint_storage import Place, here, move_in, remove
from service.run_files.checkpoints import checkpoint_name, newest_first

log = logging.getLogger(__name__)

_NO_MEMORY = "can't allocate memory"
"""in a RuntimeError: how torch says that the CPU's memory does not suffice"""


class KeptCheckpoints:
    """The checkpoints of a training that runs in one process.

    Args:
        folder: made when needed.
        keep: the newest so many stay, at least 1.
        scratch: a folder for copies from a store, on this machine.
    """

    def __init__(self, folder: Place, *, keep: int, scratch: Path) -> None:
        self._folder = folder
        self._keep = keep
        self._scratch = scratch

    def take(self, checkpoint: Path, global_step: int) -> None:
        """Move a checkpoint in, and let old ones go.

        Raises:
            CheckpointsUnavailable, OSError: it cannot be written.
        """
        move_in(checkpoint, self._folder / checkpoint_name(global_step))
        for old in newest_first(self._folder)[self._keep :]:
            remove(old)

    @contextmanager
    def newest(self, experiment: ExperimentConfig) -> Iterator[Path | None]:
        """The newest one that can be read and is the experiment's, on this machine until the end of the block; damaged
        ones, and another's, are removed.

        Raises:
            Exception: memory, open files or the disk did not suffice to read one, which may be sound.
        """
        for folder in newest_first(self._folder):
            with here(folder, scratch=self._scratch) as copy:
                if self._is_sound(copy, experiment):
                    yield copy
                    return
            remove(folder)
        yield None

    def _is_sound(self, checkpoint: Path, experiment: ExperimentConfig) -> bool:
        try:
            load_checkpoint(checkpoint, experiment, device=torch.device("cpu"))
        except Exception as error:  # whatever else torch's unpickler stumbles over, the file is at fault
            if _may_pass(error) or _may_pass(error.__context__):
                raise
            log.warning("checkpoint %s is passed over: %s", checkpoint.name, error)
            return False
        return True


def _may_pass(error: BaseException | None) -> bool:
    """Whether it says that the machine lacks something, rather than that the file does."""
    if isinstance(error, FileNotFoundError):
        return False
    return isinstance(error, MemoryError | OSError) or _NO_MEMORY in str(error)
