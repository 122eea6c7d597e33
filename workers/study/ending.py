"""The end of an attempt at a study: whether another shall follow, and what nobody needs any more if none does."""

import shutil
from collections.abc import Sequence

from service.checkpoint_storage import CheckpointStorage
from service.jobs.study_results import RunFound
from workers.attempt_folder import AttemptOrder, Failed, RunFolder, attempts_in
from workers.failures import MESSAGE_LENGTH
from workers.study.pieces import stages_folder
from workers.study.run_folder import StudyRunFolder


def to_be_tried_again(order: AttemptOrder, runs: Sequence[RunFound]) -> Failed | None:
    """Why the attempt shall be followed by another; None: what was found is what there will be.

    A full disk or a failing node fails within seconds every run that is left, however often it is started. The queue
    waits before the next attempt, which keeps what has ended and trains these runs alone, so a study with holes is for
    the last one.

    Args:
        order: of the attempt.
        runs: how all of them ended.
    """
    passing = [(run.name, run.failure) for run in runs if run.failure is not None and run.failure.reason.is_retryable]
    if not passing:
        return None
    name, failure = passing[0]
    if order.is_last_before(failure.reason):
        return None
    message = f"{len(passing)} of {len(runs)} runs are to be tried again; {name}: {failure.message}"
    return Failed(reason=failure.reason, message=message[:MESSAGE_LENGTH])


def clear_up(job: RunFolder, storage: CheckpointStorage, *, attempt: int) -> None:
    """Remove what only another attempt would need: shared stages, checkpoints of runs that have ended for good, and
    what processes that were killed have left. Checkpoints of a run that may yet come to its end can be judged, and
    stay.

    Args:
        job: the study's folder.
        storage: of its checkpoints.
        attempt: the present one, whose own scratch files are its supervisor's.
    """
    shutil.rmtree(stages_folder(job), ignore_errors=True)
    folders = [path for path in (job.path / "runs").glob("*") if path.is_dir()]  # of runs, and hidden ones of stages
    for path in folders:
        run = StudyRunFolder(path)
        if path.name.startswith(".") or run.has_ended_for_good:
            run.remove_checkpoints(storage)
    killed = [folder for folder in job.attempts() if folder.number < attempt]
    for folder in [*killed, *(folder for path in folders for folder in attempts_in(path))]:
        shutil.rmtree(folder.work, ignore_errors=True)
