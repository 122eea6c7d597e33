"""Why a job waits, computed when somebody asks."""

from pydantic import ValidationError
from sqlalchemy import and_, func, or_, select, text
from sqlalchemy.orm import Session

from service.jobs.base_spec import Resources
from service.jobs.states import CLAIMABLE, LEASED, JobState
from service.queue.dependencies import standing
from service.queue.parts import find
from service.queue.presence import Presence
from service.queue.quotas import waits_for_quota
from service.queue.reading import to_time
from service.queue.records import QueuePlace, WaitingOn
from service.queue.tables import JobRow, one_of


class Waiting(Presence):
    """The queue, as who waits sees it."""

    def place(self, job_id: str) -> QueuePlace | None:
        """Where the job stands among those that wait, and for what; None of one that does not wait.

        Raises:
            JobNotFound: no job has this id.
        """
        with self.transactions.reading() as session:
            row = find(session, job_id)
            now = session.scalar(select(self.transactions.now_ms)) or 0
            leased = text(one_of("job.state", LEASED))
            match JobState(row.state):
                case JobState.PAUSED:
                    return QueuePlace(None, (WaitingOn("pause", "it is paused: resume it"),))
                case JobState.BLOCKED:
                    return QueuePlace(None, tuple(_dependencies(session, job_id)))
                case JobState.QUEUED | JobState.RETRY_WAIT:
                    ahead = _ahead(session, row, now)
                    at_work = session.scalar(select(func.count()).select_from(JobRow).where(leased)) or 0
                case _:
                    return None
            reasons = [] if row.available_at <= now else [_back_off(row)]
            reasons += waits_for_quota(session, row)
            resources = row.spec.get("resources")
        return QueuePlace(ahead + 1, (*reasons, *self._for_workers(resources, ahead=ahead, at_work=at_work)))

    def _for_workers(self, resources: object, *, ahead: int, at_work: int) -> list[WaitingOn]:
        workers = self.workers()
        if not workers:
            return [WaitingOn("worker", "no worker is there: start one")]
        known = [worker.capacity for worker in workers if worker.capacity is not None]
        asked = _asked(resources)
        found = []
        if known and asked is not None and not any(capacity.holds(asked) for capacity in known):
            there = " | ".join(dict.fromkeys(capacity.said for capacity in known))
            found.append(WaitingOn("resources", f"no cluster can hold it now; there are: {there}"))
        if ahead + at_work >= len(workers):
            jobs = f"{ahead} {'job is' if ahead == 1 else 'jobs are'} ahead of it"
            found.append(WaitingOn("turn", f"{jobs}, and {at_work} of {len(workers)} workers have one"))
        return found


def _asked(resources: object) -> Resources | None:
    """What the job asks for; None: another version wrote it."""
    try:
        return Resources.model_validate(resources)
    except ValidationError:
        return None


def _ahead(session: Session, row: JobRow, now: int) -> int:
    """How many jobs will be claimed before it, as things stand."""
    due = max(now, row.available_at)
    earlier = or_(
        JobRow.available_at < row.available_at,
        and_(JobRow.available_at == row.available_at, JobRow.id < row.id),
    )
    first = or_(JobRow.priority > row.priority, and_(JobRow.priority == row.priority, earlier))
    claimable = text(one_of("job.state", CLAIMABLE))
    counted = select(func.count()).select_from(JobRow).where(claimable, JobRow.available_at <= due, first)
    return session.scalar(counted) or 0


def _back_off(row: JobRow) -> WaitingOn:
    return WaitingOn("back_off", f"its next attempt is due at {to_time(row.available_at):%Y-%m-%d %H:%M:%S} UTC")


def _dependencies(session: Session, job_id: str) -> list[WaitingOn]:
    return [
        WaitingOn("dependency", f"job {other} is {state}")
        for other, state in standing(session, job_id).items()
        if state is not JobState.SUCCEEDED
    ]
