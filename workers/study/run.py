"""One run of a study, from start to found.json, in the process of a Ray task or trial."""

import logging
import shutil

from service.jobs.results import TrainResults
from service.jobs.study_results import RunFailure, RunFound, RunState
from workers.errors import AttemptStopped, FolderHeld
from workers.failures import failure_of
from workers.ray_runtime.failures import translated
from workers.spool import EventSpool, NoteEvent
from workers.study.run_folder import StudyRunFolder
from workers.study.run_log import run_log
from workers.study.training import train_piece
from workers.training.here import EndedEarly, OnReport
from workers.training.lock import held
from workers.training.order import RunOrder, TrainingOrder
from workers.training.result_files import keep_results, keep_text
from workers.training.said import said_in

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 60.0
"""a process whose driver was killed is gone long before"""


def run_study_run(order: RunOrder, *, on_report: OnReport | None = None) -> RunFound:
    """Train the run and judge it, from its newest checkpoint where there is one; one that has ended is not trained
    again.

    With one worker it trains in this process; with several it drives a group of Ray Train, whose processes hold the
    CPUs and GPUs.

    Args:
        order: the run.
        on_report: called with every report of the training that has metrics (of several workers a moment later, from
            another thread). True ends the run early; the answer to a report of stage `evaluate` does not count.

    Returns:
        How it ended, and found.json says the same, with one exception: a failure for a passing reason
        (`failure.reason.is_retryable`) is not written down, for the caller may try again, or write it.

    Raises:
        AttemptStopped: it was asked to stop, and did so at a checkpoint. There is no found.json.
    """
    folder = StudyRunFolder(order.run_path)
    try:
        with held(folder.path / "lock", timeout_s=LOCK_TIMEOUT_S):
            if (found := folder.read_found()) is not None:
                return found
            folder.write_record(order)
            with run_log(order.folder.log):
                found = _trained(order, on_report)
            settled = folder.read_found()  # whoever hears its reports may have ended it meanwhile
            if settled is None:
                if found.failure is not None and found.failure.reason.is_retryable:
                    return found
                folder.write_found(found)
            folder.remove_checkpoints(order.storage)
            return settled or found
    except FolderHeld as error:
        return ended(order, RunState.FAILED, failure=run_failure(error))


def ended(
    order: RunOrder, state: RunState, *, results: TrainResults | None = None, failure: RunFailure | None = None
) -> RunFound:
    """A run as it ended; its step, seconds and value are what its spools say."""
    said = said_in(order.run_path)
    return RunFound(
        name=order.name,
        variant=order.variant,
        seed=order.seed,
        overrides=order.overrides,
        state=state,
        failure=failure,
        judgement=None if results is None else results.trained,
        value=None if order.metric is None else said.values.get(order.metric),
        global_step=said.global_step,
        train_seconds=said.seconds,
    )


def run_failure(error: BaseException) -> RunFailure:
    """Why a training failed, wherever Ray has wrapped the reason."""
    failure = failure_of(translated(error))
    return RunFailure(reason=failure.reason, message=failure.message)


def _trained(order: RunOrder, on_report: OnReport | None) -> RunFound:
    spool = open_spool(order)
    try:
        keep_text(spool, order.artifacts / "config.json", order.experiment.model_dump_json(indent=2))
        end = train_piece(order, on_report=on_report)
        results = TrainResults.model_validate(end.results)
        keep_results(spool, order.artifacts, results)
        return ended(order, RunState.SUCCEEDED, results=results)
    except AttemptStopped:
        raise
    except EndedEarly:
        spool.append(NoteEvent(text="ended early"))
        return ended(order, RunState.STOPPED_EARLY)
    except Exception as error:
        log.exception("run %s failed", order.name)
        failure = run_failure(error)
        spool.append(NoteEvent(text=f"failed: {failure.message}"))
        return ended(order, RunState.FAILED, failure=failure)
    finally:
        spool.close()
        shutil.rmtree(order.folder.work, ignore_errors=True)


def open_spool(order: TrainingOrder) -> EventSpool:
    """The spool of this attempt at the training, with a first word, from which its seconds count."""
    order.folder.path.mkdir(parents=True, exist_ok=True)
    spool = EventSpool(order.folder.events)
    spool.append(NoteEvent(text="starting"))
    return spool
