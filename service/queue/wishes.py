"""What a client may want of a job after it was submitted. What no worker must be asked for happens at once."""

from pydantic import ValidationError
from sqlalchemy.orm import Session

from service.errors import JobAlreadyEnded, JobBusy, SpecUnreadable
from service.jobs.access import Action
from service.jobs.specs import JOB_SPEC
from service.jobs.states import Desired, FailureReason, JobState
from service.queue.audit import note_action
from service.queue.dependencies import standing, start_of
from service.queue.new_jobs import API
from service.queue.parts import QueuePart, find, with_attempts
from service.queue.quotas import charge
from service.queue.records import Job
from service.queue.tables import JobRow

STUDIES = ("ablation", "sweep")
"""kinds of job that keep how each of their runs has ended"""
ENDED_FOR_GOOD = (FailureReason.BAD_INPUT, FailureReason.DIVERGED, FailureReason.OUT_OF_MEMORY)


class Wishes(QueuePart):
    """The queue, as who asks for something sees it. Every method raises JobNotFound where no job has the id."""

    def request_cancel(self, job_id: str, *, force: bool = False) -> Job:
        """Ask for the end: at once where no worker has the job, else at its worker's next heartbeat. Idempotent.

        Args:
            job_id: the job.
            force: end its processes at once, without a last checkpoint; what was asked gently before becomes this.

        Raises:
            JobAlreadyEnded: the job succeeded or failed; a cancelled one is just returned.
        """
        with self.transactions.writing() as (session, now):
            row = find(session, job_id, lock=True)
            state = JobState(row.state)
            if state.is_terminal and state is not JobState.CANCELLED:
                raise JobAlreadyEnded(f"job {job_id} has already {state}; there is nothing left to cancel")
            if not state.is_terminal:
                _raise_wish(row, Desired.KILL if force else Desired.CANCEL, now)
            if state.is_waiting:
                row.failure_reason = FailureReason.USER
                row.failure_message = "cancelled on request while no attempt ran"
                self._moves.move(session, row, JobState.CANCELLED, actor=API, note=None, now=now)
            note_action(session, Action.JOB_CANCEL, job_id, now=now, force=force)
            return with_attempts(session, row)

    def request_pause(self, job_id: str) -> Job:
        """Ask for a pause: at once where no worker has the job, else after a checkpoint. Idempotent.

        Raises:
            JobAlreadyEnded: there is nothing left to pause.
            JobBusy: its end was asked for before.
        """
        with self.transactions.writing() as (session, now):
            row = find(session, job_id, lock=True)
            _refuse_ended(row, "pause")
            state = JobState(row.state)
            _raise_wish(row, Desired.PAUSE, now)
            if state.is_waiting and state is not JobState.PAUSED:
                self._moves.move(session, row, JobState.PAUSED, actor=API, note=None, now=now)
            note_action(session, Action.JOB_PAUSE, job_id, now=now)
            return with_attempts(session, row)

    def resume(self, job_id: str) -> Job:
        """Take a pause back: a paused job waits for a claim again. One that is not to be paused is just returned.

        Raises:
            JobAlreadyEnded: it has ended; `retry` is for those.
            JobBusy: its end was asked for.
        """
        with self.transactions.writing() as (session, now):
            row = find(session, job_id, lock=True)
            _refuse_ended(row, "resume")
            if row.state == JobState.PAUSED:
                self._begin_again(session, row, now)
            elif row.desired == Desired.PAUSE:
                row.desired = Desired.RUN
                row.updated_at = now
            note_action(session, Action.JOB_RESUME, job_id, now=now)
            return with_attempts(session, row)

    def retry(self, job_id: str) -> Job:
        """Have a job that failed or was cancelled tried again: it waits for a claim, with its budgets whole, and
        goes on from its last checkpoint.

        Raises:
            JobAlreadyEnded: it succeeded, or is a study whose runs have ended for good.
            JobBusy: it has not ended, or a job that it waits for must be tried again first.
            SpecUnreadable: this version cannot read what was asked for.
            QuotaExceeded: as many jobs of the key that submitted it wait as may.
        """
        with self.transactions.writing() as (session, now):
            row = find(session, job_id, lock=True)
            if row.state == JobState.SUCCEEDED:
                raise JobAlreadyEnded(f"job {job_id} has succeeded; to do it once more, clone it")
            if not JobState(row.state).is_terminal:
                raise JobBusy(f"job {job_id} is {row.state}: only what failed or was cancelled can be tried again")
            _refuse_hopeless(row)
            charge(session, row.submitted_by, gpus=row.gpus)
            for other, state in standing(session, job_id).items():
                if state in (JobState.FAILED, JobState.CANCELLED):
                    raise JobBusy(f"job {job_id} waits for job {other}, which is {state}: try that one again first")
            row.failed_attempts = row.lost_attempts = row.ran_ms = 0
            self._begin_again(session, row, now)
            note_action(session, Action.JOB_RETRY, job_id, now=now)
            return with_attempts(session, row)

    def set_priority(self, job_id: str, priority: int) -> Job:
        """Let a job be claimed earlier or later than others.

        Raises:
            JobBusy: a worker has it.
            JobAlreadyEnded: it has ended.
        """
        with self.transactions.writing() as (session, now):
            row = find(session, job_id, lock=True)
            if JobState(row.state).is_terminal:
                raise JobAlreadyEnded(f"job {job_id} has already {row.state}: its priority says nothing any more")
            if not JobState(row.state).is_waiting:
                raise JobBusy(f"job {job_id} is {row.state}: its priority counts only while it waits")
            if row.priority != priority:
                row.priority = priority
                row.updated_at = now
            note_action(session, Action.JOB_PRIORITY, job_id, now=now, priority=priority)
            return with_attempts(session, row)

    def _begin_again(self, session: Session, row: JobRow, now: int) -> None:
        start = start_of(standing(session, row.id))
        row.desired = Desired.RUN
        row.failure_reason = row.failure_message = None
        row.available_at = now
        self._moves.move(session, row, start, actor=API, note=None, now=now)
        if row.state == JobState.BLOCKED:
            self._moves.unblock(session, row, now=now)


def _raise_wish(row: JobRow, desired: Desired, now: int) -> None:
    if Desired(row.desired).severity < desired.severity:
        row.desired = desired
        row.updated_at = now


def _refuse_hopeless(row: JobRow) -> None:
    """Refuse to try again what would only end as it has ended."""
    if row.kind in STUDIES and row.failure_reason in ENDED_FOR_GOOD:
        raise JobAlreadyEnded(
            f"the runs of job {row.id} have ended for good ({row.failure_reason}) and would not be trained again:"
            f" clone it (POST /v1/jobs/{row.id}/clone), with what must change"
        )
    try:
        JOB_SPEC.validate_python(row.spec)
    except ValidationError as error:
        raise SpecUnreadable(
            f"another version of the service stored job {row.id} in words that this one cannot read"
            f" ({error.errors()[0]['msg']}): submit it anew"
        ) from None


def _refuse_ended(row: JobRow, verb: str) -> None:
    """Refuse what makes no sense of a job that has ended, or shall."""
    if JobState(row.state).is_terminal:
        way_out = "clone it" if row.state == JobState.SUCCEEDED else f"try it again (POST /v1/jobs/{row.id}/retry)"
        raise JobAlreadyEnded(f"job {row.id} has already {row.state}; there is nothing left to {verb}: {way_out}")
    if Desired(row.desired).is_end:
        raise JobBusy(f"job {row.id} is being cancelled; wait until it has ended, and then try it again")
