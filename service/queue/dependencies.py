"""Which jobs wait for which."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.errors import FieldProblem
from service.jobs.base_spec import refuse
from service.jobs.states import JobState
from service.queue.tables import DependencyRow, JobRow


def wait_for(session: Session, after: Sequence[str]) -> JobState:
    """Where a new job begins that waits for others, which cannot end meanwhile.

    Raises:
        InvalidSpec: one of them is not there, or has ended without success.
    """
    if not after:
        return JobState.QUEUED
    held = select(JobRow).where(JobRow.id.in_(after)).order_by(JobRow.id).with_for_update(read=True)
    states = {row.id: JobState(row.state) for row in session.scalars(held)}
    problems = []
    for number, job_id in enumerate(after):
        match states.get(job_id):
            case None:
                problems.append(FieldProblem(f"after.{number}", f"no job has the id {job_id!r}"))
            case JobState.FAILED | JobState.CANCELLED as state:
                way_out = f"try it again first (POST /v1/jobs/{job_id}/retry), or wait for another"
                problems.append(FieldProblem(f"after.{number}", f"job {job_id} is {state}: {way_out}"))
    if problems:
        raise refuse(tuple(problems))
    return start_of(states)


def start_of(states: dict[str, JobState]) -> JobState:
    """Where a job begins that waits for jobs in these states, none of which has ended without success."""
    return JobState.QUEUED if all(state is JobState.SUCCEEDED for state in states.values()) else JobState.BLOCKED


def note_dependencies(session: Session, job_id: str, after: Sequence[str]) -> None:
    session.add_all(DependencyRow(job_id=job_id, after_job_id=other) for other in dict.fromkeys(after))


def standing(session: Session, job_id: str) -> dict[str, JobState]:
    """The jobs that this one waits for, and where they are."""
    query = (
        select(JobRow.id, JobRow.state)
        .join(DependencyRow, DependencyRow.after_job_id == JobRow.id)
        .where(DependencyRow.job_id == job_id)
        .order_by(JobRow.id)
    )
    return {other: JobState(state) for other, state in session.execute(query)}


def dependents(session: Session, job_id: str) -> list[JobRow]:
    """The blocked jobs that wait for this one, locked in the order of their ids.

    With the lock, two jobs that end at the same time see each other: who comes second finds the first one ended.
    """
    query = (
        select(JobRow)
        .join(DependencyRow, DependencyRow.job_id == JobRow.id)
        .where(DependencyRow.after_job_id == job_id, JobRow.state == JobState.BLOCKED)
        .order_by(JobRow.id)
        .with_for_update(of=JobRow)
    )
    return list(session.scalars(query))
