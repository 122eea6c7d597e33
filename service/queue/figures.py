"""What the queue has done, counted from its tables: every process of the API counts the same.

Counts of attempts only ever rise, also when jobs are deleted: what a deleted job's attempts were goes into a tally,
within the transaction that deletes it.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Engine, Executable, case, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.jobs.states import CLAIMABLE, JobState
from service.jobs.worker_figures import WorkerFigures
from service.queue.database import Clock
from service.queue.tables import AttemptRow, AttemptTallyRow, JobRow, WorkerRow
from service.queue.transactions import Transactions

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86400
ATTEMPT_BUCKETS_S: Final = (
    *(1, 5, 15, MINUTE_S, 5 * MINUTE_S, 15 * MINUTE_S),
    *(HOUR_S, 4 * HOUR_S, 12 * HOUR_S, DAY_S, 3 * DAY_S, 7 * DAY_S),
)
LONGER_MS: Final = 2**62
"""the last bucket's end"""
SETTLED_AFTER_MS: Final = 600_000
"""what ended so long ago is counted once and for all: no transaction that ended an attempt then is still open"""


@dataclass(frozen=True)
class EndedKind:
    """Attempts alike in how they ended."""

    kind: str
    """of the job"""
    outcome: str
    """the state that the job went to"""
    reason: str
    """a FailureReason; "" where nothing failed"""


@dataclass
class Ended:
    """How many, and how long they took."""

    by_bucket: list[int] = field(default_factory=lambda: [0] * (len(ATTEMPT_BUCKETS_S) + 1))
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.by_bucket)

    def add(self, more: "Ended") -> None:
        self.by_bucket = [a + b for a, b in zip(self.by_bucket, more.by_bucket, strict=True)]
        self.seconds += more.seconds


Counts = dict[EndedKind, Ended]


@dataclass(frozen=True)
class SeenWorker:
    """A worker whose heartbeat is not overdue."""

    worker_id: str
    age_s: float
    """of its last heartbeat"""
    figures: WorkerFigures
    """that came with it"""


@dataclass(frozen=True)
class QueueFigures:
    jobs: Mapping[tuple[JobState, str], int]
    """by state and kind, what is there now"""
    oldest_waiting_s: float | None
    """how long the oldest job that could be claimed has been waiting; None: none waits"""
    ended: Mapping[EndedKind, Ended]
    """attempts, since the database was made"""
    workers: tuple[SeenWorker, ...] = ()
    """by id"""

    def durations(self) -> dict[tuple[str, str], Ended]:
        """The attempts by kind and outcome alone."""
        found: dict[tuple[str, str], Ended] = {}
        for key, ended in self.ended.items():
            found.setdefault((key.kind, key.outcome), Ended()).add(ended)
        return found

    def claims(self) -> dict[str, int]:
        """How often jobs of each kind were claimed: every attempt that ended, and those at work."""
        found: dict[str, int] = defaultdict(int)
        for key, ended in self.ended.items():
            found[key.kind] += ended.count
        for (state, kind), count in self.jobs.items():
            if state.is_leased:
                found[kind] += count
        return dict(found)


class QueueCounter:
    """Counts; of what ended long ago it remembers the sum, so that a look costs what has happened since.

    Safe to use from many threads at once.
    """

    def __init__(self, engine: Engine, *, clock: Clock | None = None) -> None:
        self._transactions = Transactions(engine, clock)
        self._lock = threading.Lock()
        self._settled: Counts = {}
        self._settled_until = 0
        self._tallied = 0

    def count(self) -> QueueFigures:
        """The figures of one moment.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        with self._lock, self._transactions.reading(snapshot=True) as session:
            now = session.scalar(select(self._transactions.now_ms)) or 0
            by_state = select(JobRow.state, JobRow.kind, func.count()).group_by(JobRow.state, JobRow.kind)
            jobs = {(JobState(state), kind): count for state, kind, count in session.execute(by_state)}
            waiting = (JobRow.state.in_(sorted(CLAIMABLE)), JobRow.available_at <= now)
            oldest = session.scalar(select(func.min(JobRow.available_at)).where(*waiting))
            return QueueFigures(
                jobs,
                oldest_waiting_s=None if oldest is None else (now - oldest) / 1000,
                ended=self._ended(session, now),
                workers=_seen(session, now),
            )

    def _ended(self, session: Session, now: int) -> Counts:
        deleted: Counts = {}
        tallied = _add(deleted, session, _tallied())
        if tallied != self._tallied:  # some of what was summed up has moved into the tally
            self._settled, self._settled_until, self._tallied = {}, 0, tallied
        horizon = now - SETTLED_AFTER_MS
        if horizon > self._settled_until:
            settled = _copy(self._settled)  # whole or not at all: the database may go away in between
            _add(settled, session, _grouped(after=self._settled_until, until=horizon))
            self._settled, self._settled_until = settled, horizon
        counts = _copy(self._settled)
        _add(counts, session, _grouped(after=self._settled_until, until=None))
        for key, ended in deleted.items():
            counts.setdefault(key, Ended()).add(ended)
        return counts


def _copy(counts: Counts) -> Counts:
    return {key: Ended(list(ended.by_bucket), ended.seconds) for key, ended in counts.items()}


def _seen(session: Session, now: int) -> tuple[SeenWorker, ...]:
    living = select(WorkerRow).where(WorkerRow.expires_at >= now).order_by(WorkerRow.id)
    return tuple(SeenWorker(row.id, (now - row.seen_at) / 1000, _told(row.figures)) for row in session.scalars(living))


def _told(figures: dict[str, Any] | None) -> WorkerFigures:
    try:
        return WorkerFigures.model_validate(figures or {})
    except ValidationError:  # a worker of another version
        return WorkerFigures()


def tally_attempts(session: Session, job_id: str) -> None:
    """Before a job is deleted, in the same transaction: add its attempts to the tally."""
    bound = session.get_bind()
    insert = postgresql.insert if bound.dialect.name == "postgresql" else sqlite.insert
    for kind, outcome, reason, at_most_ms, attempts, total_ms in session.execute(_grouped(job_id=job_id)):
        row = insert(AttemptTallyRow).values(
            kind=kind, outcome=outcome, reason=reason, at_most_ms=at_most_ms, attempts=attempts, total_ms=total_ms
        )
        more = {name: getattr(AttemptTallyRow, name) + row.excluded[name] for name in ("attempts", "total_ms")}
        session.execute(
            row.on_conflict_do_update(index_elements=["kind", "outcome", "reason", "at_most_ms"], set_=more)
        )


def _grouped(*, after: int = 0, until: int | None = None, job_id: str | None = None) -> Executable:
    took_ms = AttemptRow.ended_at - AttemptRow.started_at
    at_most_ms = _bucket_end(took_ms)
    reason = func.coalesce(AttemptRow.exit_reason, literal(""))
    query = (
        select(JobRow.kind, AttemptRow.outcome, reason, at_most_ms, func.count(), func.sum(took_ms))
        .join(JobRow, JobRow.id == AttemptRow.job_id)
        .where(AttemptRow.ended_at > after)
        .group_by(JobRow.kind, AttemptRow.outcome, reason, at_most_ms)
    )
    if until is not None:
        query = query.where(AttemptRow.ended_at <= until)
    return query if job_id is None else query.where(AttemptRow.job_id == job_id)


def _bucket_end(took_ms: ColumnElement[Any]) -> ColumnElement[int]:
    return case(*((took_ms <= end_s * 1000, end_s * 1000) for end_s in ATTEMPT_BUCKETS_S), else_=LONGER_MS)


def _tallied() -> Executable:
    tally = AttemptTallyRow
    return select(tally.kind, tally.outcome, tally.reason, tally.at_most_ms, tally.attempts, tally.total_ms)


def _add(counts: Counts, session: Session, query: Executable) -> int:
    """Add groups of attempts; how many attempts they were."""
    added = 0
    for kind, outcome, reason, at_most_ms, attempts, total_ms in session.execute(query):
        ended = Ended(seconds=float(total_ms) / 1000)
        ends_ms = [end_s * 1000 for end_s in ATTEMPT_BUCKETS_S]
        ended.by_bucket[sum(end_ms < at_most_ms for end_ms in ends_ms)] = attempts
        counts.setdefault(EndedKind(kind, outcome, reason), Ended()).add(ended)
        added += attempts
    return added
