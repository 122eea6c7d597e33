"""Stages that several runs of a study share, trained once, in the process of a Ray task."""

import logging
import shutil

from service.jobs.study_results import RunFailure
from workers.errors import AttemptStopped
from workers.spool import NoteEvent
from workers.study.run import LOCK_TIMEOUT_S, open_spool, run_failure
from workers.study.run_folder import StudyRunFolder
from workers.study.training import train_piece
from workers.training.lock import held
from workers.training.order import TrainingOrder

log = logging.getLogger(__name__)


def train_stage(order: TrainingOrder) -> RunFailure | None:
    """Train until the ordered stage and leave the state in the store; why that failed, if it did.

    Raises:
        AttemptStopped: it was asked to stop, and did so at a checkpoint.
    """
    try:
        with held(order.run_path / "lock", timeout_s=LOCK_TIMEOUT_S):
            spool = open_spool(order)
            try:
                train_piece(order)
                spool.append(NoteEvent(text=f"stage {order.until} is trained"))
            finally:
                spool.close()
                shutil.rmtree(order.folder.work, ignore_errors=True)
    except AttemptStopped:
        raise
    except Exception as error:
        log.exception("%s failed", order.run_path.name)
        return run_failure(error)
    StudyRunFolder(order.run_path).remove_checkpoints(order.storage)  # the state in the store is what it was for
    return None
