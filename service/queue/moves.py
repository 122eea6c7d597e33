"""How a job moves: every change of state goes through here, with its event and all that follows from it."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from service.errors import IllegalTransition
from service.jobs.budgets import Spent
from service.jobs.states import TRANSITIONS, Budget, Desired, FailureReason, JobState
from service.queue.deadlines import Deadlines, milliseconds
from service.queue.dependencies import dependents, standing
from service.queue.new_jobs import append_event
from service.queue.records import Settlement
from service.queue.retry import RetryPolicy
from service.queue.tables import AttemptRow, JobRow

QUEUE: Final = "queue"
"""who moves a job because another one has ended"""
MESSAGE_LENGTH = 4000


@dataclass(frozen=True)
class _Ending:
    """What becomes of a job whose attempt has ended."""

    state: JobState
    reason: FailureReason | None
    message: str | None
    spent: Spent
    delay_s: float = 0.0


class Moves:
    """Moves jobs within the transaction of whoever asks for it."""

    def __init__(self, retry: RetryPolicy, deadlines: Deadlines) -> None:
        self.retry = retry
        self.deadlines = deadlines

    def move(self, session: Session, row: JobRow, target: JobState, *, actor: str, note: str | None, now: int) -> None:
        """Bring the job to a state; jobs that wait for it follow when that is an end.

        Raises:
            IllegalTransition: the table of transitions forbids it.
        """
        source = JobState(row.state)
        if target not in TRANSITIONS[source]:
            raise IllegalTransition(f"job {row.id} is {source} and cannot become {target}")
        if source is JobState.RUNNING:
            row.ran_ms += now - row.state_at
        row.state = target
        row.state_at = row.updated_at = now
        row.deadline_at = self.deadlines.at(
            target, now=now, ran_ms=row.ran_ms, max_runtime_s=row.spec.get("max_runtime_s")
        )
        if not target.is_leased:
            row.lease_token = row.lease_owner = row.lease_expires_at = None
        row.ended_at = now if target.is_terminal else None
        append_event(session, row, source, actor=actor, note=note, now=now)
        if target.is_terminal:
            session.flush()
            for dependent in dependents(session, row.id):
                self.unblock(session, dependent, now=now)

    def settle(self, session: Session, row: JobRow, settlement: Settlement, *, actor: str, now: int) -> None:
        """End the job's attempt, and the job unless another attempt is due or it is to be paused."""
        ending = self._ending(row, settlement)
        message = None if ending.message is None else ending.message[:MESSAGE_LENGTH]
        row.failed_attempts, row.lost_attempts = ending.spent.own, ending.spent.infrastructure
        row.available_at = now + milliseconds(ending.delay_s)
        row.results = settlement.results
        row.failure_reason = ending.reason
        row.failure_message = message
        attempt = session.get_one(AttemptRow, (row.id, row.attempt))
        attempt.ended_at, attempt.outcome = now, ending.state
        attempt.exit_reason, attempt.message = ending.reason, message
        self.move(session, row, ending.state, actor=actor, note=message, now=now)

    def _ending(self, row: JobRow, settlement: Settlement) -> _Ending:
        state, reason, message = settlement.state, settlement.reason, settlement.message
        desired = Desired(row.desired)
        spent = Spent(own=row.failed_attempts, infrastructure=row.lost_attempts)
        if reason is None or state not in (JobState.RETRY_WAIT, JobState.PAUSED):
            return _Ending(state, reason, message, spent)
        if desired.is_end:
            message = "cancelled on request" if state is JobState.PAUSED else f"cancelled on request; {message}"
            return _Ending(JobState.CANCELLED, FailureReason.USER, message, spent)
        delay_s = 0.0
        if settlement.counted:
            limits = {"max_attempts": row.max_attempts, "max_lost_attempts": row.max_lost_attempts}
            decision = self.retry.decide(reason, spent=spent, **limits)
            spent, delay_s = decision.spent, decision.delay_s
            if not decision.again:
                return _Ending(JobState.FAILED, reason, f"{message}; {_used_up(reason.budget, **limits)}", spent)
        if desired is Desired.PAUSE:
            return _Ending(JobState.PAUSED, reason, message, spent)
        return _Ending(JobState.RETRY_WAIT, reason, message, spent, delay_s)

    def unblock(self, session: Session, row: JobRow, *, now: int) -> bool:
        """Move a blocked job on where those it waits for allow it, end it where one did not succeed; whether it moved.

        Args:
            session: of the transaction.
            row: locked; what ended with another that it waited for is blocked no longer, and is left as it is.
            now: the database's time, ms.
        """
        if row.state != JobState.BLOCKED:
            return False
        waits_for = standing(session, row.id)
        if lost := [job_id for job_id, state in waits_for.items() if state in (JobState.FAILED, JobState.CANCELLED)]:
            row.failure_reason = FailureReason.DEPENDENCY
            row.failure_message = (
                f"job {lost[0]}, for which it waited, is {waits_for[lost[0]]}; once that has succeeded, this one can be"
                f" tried again (POST /v1/jobs/{row.id}/retry)"
            )
            self.move(session, row, JobState.CANCELLED, actor=QUEUE, note=row.failure_message, now=now)
        elif all(state is JobState.SUCCEEDED for state in waits_for.values()):
            row.available_at = now
            self.move(session, row, JobState.QUEUED, actor=QUEUE, note="all it waited for have succeeded", now=now)
        else:
            return False
        return True


def _used_up(budget: Budget | None, *, max_attempts: int, max_lost_attempts: int) -> str:
    if budget is Budget.INFRASTRUCTURE:
        return f"that was lost attempt {max_lost_attempts} of {max_lost_attempts} (max_lost_attempts)"
    return f"that was failed attempt {max_attempts} of {max_attempts} (max_attempts)"
