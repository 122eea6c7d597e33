"""Whatever clients, workers, the reconciler and clocks do in whatever order, the queue keeps its promises.

`make histories` runs many more of them: SDCN_HISTORIES=2000 examples on each database.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Engine, event, select, text

from service.errors import IllegalTransition, InvalidSpec, JobAlreadyEnded, JobBusy, JobNeeded, LeaseLost
from service.jobs.specs import TrainSpec
from service.jobs.states import CLAIMABLE, NEW, TRANSITIONS, Budget, Desired, FailureReason, JobState
from service.queue.database import open_database
from service.queue.deadlines import Deadlines
from service.queue.reading import read_job
from service.queue.records import Claim, Job, Settlement
from service.queue.repository import JobQueue
from service.queue.tables import AttemptRow, Base, JobRow
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue

SETTLEMENTS = {
    "succeeded": Settlement.succeeded({}),
    "diverged": Settlement.failed(FailureReason.DIVERGED, "nan"),
    "cancelled": Settlement.cancelled(),
    "crashed": Settlement.retry(FailureReason.CRASHED, "no word"),
    "lost": Settlement.retry(FailureReason.INFRASTRUCTURE, "disk"),
    "paused": Settlement.paused(),
    "released": Settlement.released("shut down"),
}
LEASE_S = 30
MAX_RUNTIME_S = 100
TRAIL = text("SELECT job_id, from_state, to_state FROM job_event ORDER BY id")
EXAMPLES = int(os.environ.get("SDCN_HISTORIES", "25"))
STEPS = 30


class History(RuleBasedStateMachine):
    """A few jobs on one database, and what an outsider can know of them."""

    database: Callable[[], tuple[Engine, Callable[[], None]]]
    spec: TrainSpec

    def __init__(self) -> None:
        super().__init__()
        self.engine, self._close = type(self).database()
        self.clock = FakeClock()
        self.queue = JobQueue(self.engine, clock=self.clock)
        self.jobs: list[str] = []
        """submitted and not deleted"""
        self.claims: list[Claim] = []
        self.held: dict[str, Claim] = {}
        """the claim that holds each leased job"""
        self.ended: dict[str, JobState] = {}
        self.wanted: dict[str, Desired] = {}
        self.charged_from: dict[str, int] = {}
        """the last attempt before the job was tried again on request: budgets count from there"""

    def teardown(self) -> None:
        self._close()

    # --- what clients do

    @rule(data=st.data(), own=st.integers(1, 2), lost=st.integers(1, 3), limited=st.booleans())
    def submit(self, data: st.DataObject, own: int, lost: int, limited: bool) -> None:
        after = data.draw(st.lists(st.sampled_from(self.jobs), max_size=2, unique=True)) if self.jobs else []
        limits = {"max_attempts": own, "max_lost_attempts": lost, "max_runtime_s": MAX_RUNTIME_S if limited else None}
        try:
            job = enqueue(self.queue, self.spec.model_copy(update={**limits, "after": tuple(after)}))
        except InvalidSpec:
            assert any(self.ended.get(other) in (JobState.FAILED, JobState.CANCELLED) for other in after)
        else:
            self.jobs.append(job.job_id)
            self.charged_from[job.job_id] = 0

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), force=st.booleans())
    def cancel(self, data: st.DataObject, force: bool) -> None:
        job_id = data.draw(st.sampled_from(self.jobs))
        try:
            job = self.queue.request_cancel(job_id, force=force)
        except JobAlreadyEnded:
            assert self.ended[job_id] is not JobState.CANCELLED
        else:
            assert job.state is JobState.CANCELLED or job.desired.is_end
            assert job.state.is_leased or job.state is JobState.CANCELLED

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.jobs))
        try:
            job = self.queue.request_pause(job_id)
        except JobAlreadyEnded:
            assert job_id in self.ended
        except JobBusy:
            assert self.wanted[job_id].is_end
        else:
            assert job.desired is Desired.PAUSE
            assert job.state.is_leased or job.state is JobState.PAUSED

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.jobs))
        try:
            job = self.queue.resume(job_id)
        except JobAlreadyEnded:
            assert job_id in self.ended
        except JobBusy:
            assert self.wanted[job_id].is_end
        else:
            assert job.state is not JobState.PAUSED
            self.wanted[job_id] = Desired.RUN

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.jobs))
        try:
            job = self.queue.retry(job_id)
        except JobAlreadyEnded:
            assert self.ended[job_id] is JobState.SUCCEEDED
        except JobBusy:
            return
        else:
            assert job.state in NEW
            del self.ended[job_id]
            self.wanted[job_id] = Desired.RUN
            self.charged_from[job_id] = job.attempt

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), priority=st.integers(-2, 2))
    def set_priority(self, data: st.DataObject, priority: int) -> None:
        job_id = data.draw(st.sampled_from(self.jobs))
        try:
            assert self.queue.set_priority(job_id, priority).priority == priority
        except JobAlreadyEnded:
            assert job_id in self.ended
        except JobBusy:
            assert job_id in self.held

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.jobs))
        try:
            self.queue.delete(job_id)
        except (JobBusy, JobNeeded):
            return
        assert job_id in self.ended
        self.jobs.remove(job_id)
        for known in (self.ended, self.wanted, self.charged_from):
            known.pop(job_id, None)

    # --- what workers do

    @rule()
    def claim(self) -> None:
        claim = self.queue.claim("w", lease_s=LEASE_S)
        if claim is not None:
            assert claim.job_id not in self.held
            assert claim.job_id not in self.ended
            self.claims.append(claim)
            self.held[claim.job_id] = claim

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), write=st.sampled_from(["heartbeat", "start", "running", "stopping", *SETTLEMENTS]))
    def work(self, data: st.DataObject, write: str) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        holds = self.held.get(claim.job_id) == claim
        try:
            match write:
                case "heartbeat":
                    self.queue.heartbeat(claim, lease_s=LEASE_S)
                case "start":
                    self.queue.start(claim)
                case "running":
                    self.queue.begin_running(claim)
                case "stopping":
                    self.queue.begin_stopping(claim)
                case _:
                    self.queue.settle(claim, SETTLEMENTS[write])
                    del self.held[claim.job_id]
        except LeaseLost:
            assert not holds
        except IllegalTransition:
            assert holds
        else:
            assert holds

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def work_to_the_end(self, data: st.DataObject) -> None:
        """Drawn at random alone, few jobs would get so far."""
        claim = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        if self.queue.get(claim.job_id).state is JobState.CLAIMED:
            self.queue.start(claim)
        self.queue.settle(claim, SETTLEMENTS["succeeded"])
        del self.held[claim.job_id]

    # --- what the reconciler and time do

    @rule(seconds=st.sampled_from([1, 20, 31, 400]))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def reconcile(self) -> None:
        for job_id in (*self.queue.rescue_lost(), *self.queue.enforce_deadlines()):
            del self.held[job_id]
        assert self.queue.unblock_waiting() == []  # alone, nobody is passed over

    # --- what always holds

    @invariant()
    def every_promise_holds(self) -> None:
        jobs = self._read()
        self.no_job_is_lost(jobs)
        self.each_attempt_is_recorded_once(jobs)
        self.only_what_failed_is_charged(jobs)
        self.severity_only_rises(jobs)
        self.blocked_is_what_waits_for_others(jobs)
        self.the_trail_tells_the_whole_way(jobs)

    def _read(self) -> list[Job]:
        """All jobs that are there, at one moment."""
        with self.queue.transactions.reading() as session:
            attempts: dict[str, list[AttemptRow]] = {}
            for attempt in session.scalars(select(AttemptRow).order_by(AttemptRow.attempt)):
                attempts.setdefault(attempt.job_id, []).append(attempt)
            return [read_job(row, attempts.get(row.id, ())) for row in session.scalars(select(JobRow))]

    def no_job_is_lost(self, jobs: list[Job]) -> None:
        """Every job that was accepted is there, and waits, is held by exactly one claim, or has ended for good."""
        assert sorted(job.job_id for job in jobs) == sorted(self.jobs)
        for job in jobs:
            assert job.state.is_leased == (job.job_id in self.held)
            assert job.state.is_waiting or job.state.is_leased or job.state.is_terminal
            if job.job_id in self.ended:
                assert job.state is self.ended[job.job_id]
            elif job.state.is_terminal:
                self.ended[job.job_id] = job.state

    def each_attempt_is_recorded_once(self, jobs: list[Job]) -> None:
        for job in jobs:
            assert [attempt.attempt for attempt in job.attempts] == list(range(1, job.attempt + 1))
            assert sum(attempt.ended_at is None for attempt in job.attempts) == job.state.is_leased
            successes = [attempt.outcome for attempt in job.attempts].count(JobState.SUCCEEDED)
            assert successes == (job.state is JobState.SUCCEEDED)

    def only_what_failed_is_charged(self, jobs: list[Job]) -> None:
        for job in jobs:
            counted = [a for a in job.attempts if a.attempt > self.charged_from[job.job_id] and _is_charged(a.message)]
            reasons = [attempt.exit_reason.budget for attempt in counted if attempt.exit_reason is not None]
            assert job.failed_attempts == reasons.count(Budget.OWN) <= job.max_attempts
            assert job.lost_attempts == reasons.count(Budget.INFRASTRUCTURE) <= job.max_lost_attempts
            if not job.state.is_terminal:
                assert job.failed_attempts < job.max_attempts
                assert job.lost_attempts < job.max_lost_attempts

    def severity_only_rises(self, jobs: list[Job]) -> None:
        for job in jobs:
            before = self.wanted.get(job.job_id, Desired.RUN)
            assert job.desired.severity >= before.severity
            self.wanted[job.job_id] = job.desired

    def blocked_is_what_waits_for_others(self, jobs: list[Job]) -> None:
        states = {job.job_id: job.state for job in jobs}
        for job in jobs:
            after = [states[other] for other in job.spec["after"] if other in states]  # type: ignore[union-attr]
            if job.state is JobState.BLOCKED:
                assert any(state is not JobState.SUCCEEDED for state in after)
                assert not {JobState.FAILED, JobState.CANCELLED} & set(after)
            if job.state in CLAIMABLE or job.state.is_leased:
                assert set(after) <= {JobState.SUCCEEDED}

    def the_trail_tells_the_whole_way(self, jobs: list[Job]) -> None:
        ways: dict[str, list[tuple[str | None, str]]] = {job.job_id: [] for job in jobs}
        with self.engine.connect() as connection:
            for job_id, source, target in connection.execute(TRAIL):
                ways[job_id].append((source, target))
        for job in jobs:
            (start, _), *moves = way = ways[job.job_id]
            assert start is None
            assert all(target == source for (_, target), (source, _) in pairwise(way))
            assert all(JobState(target) in TRANSITIONS[JobState(source)] for source, target in moves)
            assert way[-1][1] == job.state


def _is_charged(message: str | None) -> bool:
    """A worker that gives a job back, and an end that was wanted, charge nothing."""
    return message is not None and message != "shut down" and not message.startswith("cancelled")


def sqlite(template: Path) -> tuple[Engine, Callable[[], None]]:
    folder = Path(tempfile.mkdtemp())
    shutil.copy(template, folder / "queue.db")
    engine = open_database(f"sqlite:///{folder / 'queue.db'}")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))

    def close() -> None:
        engine.dispose()
        shutil.rmtree(folder)

    return engine, close


def postgresql(url: str) -> tuple[Engine, Callable[[], None]]:
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(Base.metadata.tables)}"))
        connection.execute(text("SET synchronous_commit = off"))
    return engine, engine.dispose


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.timeout(3600)
def test_no_history_breaks_a_promise(
    kind: str, request: pytest.FixtureRequest, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count()  # ids in order: a history that is played again must go the same way
    monkeypatch.setattr("secrets.token_hex", lambda _: f"{next(numbers):012x}")
    if kind == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        made: Callable[[], tuple[Engine, Callable[[], None]]] = lambda: sqlite(template)  # noqa: E731
    else:
        url: str = request.getfixturevalue("postgres_url")
        made = lambda: postgresql(url)  # noqa: E731
    machine = type("Machine", (History,), {"database": staticmethod(made), "spec": spec})
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=profile)


def test_deadlines_are_longer_than_a_lease() -> None:
    """Else a worker that merely beats late would lose its job to the wrong cause."""
    limits = Deadlines()
    assert min(limits.claimed_s, limits.starting_s, limits.stopping_s) > LEASE_S
