"""Whatever clients, workers and clocks do in whatever order, the queue keeps its promises."""

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from service.errors import IllegalTransition, JobAlreadyEnded, LeaseLost
from service.jobs.specs import TrainSpec
from service.jobs.states import TRANSITIONS, Desired, FailureReason, JobState
from service.queue.database import open_database
from service.queue.records import Claim, Settlement
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue

SETTLEMENTS = (
    Settlement.succeeded({}),
    Settlement.failed(FailureReason.DIVERGED, "nan"),
    Settlement.cancelled(),
    Settlement.retry(FailureReason.INFRASTRUCTURE, "disk"),
    Settlement.released("shut down"),
)
LEASE_S = 30


class History(RuleBasedStateMachine):
    template: Path
    spec: TrainSpec

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(self.template, self.folder / "queue.db")
        self.engine = open_database(f"sqlite:///{self.folder / 'queue.db'}")
        self.clock = FakeClock()
        self.queue = JobQueue(self.engine, clock=self.clock)
        self.jobs: list[str] = []
        self.claims: list[Claim] = []
        self.valid: dict[str, Claim] = {}
        """the claim that holds each leased job, as far as an outsider can know"""
        self.ended: dict[str, JobState] = {}

    def teardown(self) -> None:
        self.engine.dispose()
        shutil.rmtree(self.folder)

    @rule(max_attempts=st.integers(1, 3))
    def submit(self, max_attempts: int) -> None:
        self.jobs.append(enqueue(self.queue, self.spec.model_copy(update={"max_attempts": max_attempts})).job_id)

    @rule()
    def claim(self) -> None:
        claim = self.queue.claim("w", lease_s=LEASE_S)
        if claim is not None:
            assert claim.job_id not in self.valid  # nobody else has it
            assert claim.job_id not in self.ended
            self.claims.append(claim)
            self.valid[claim.job_id] = claim

    @rule(seconds=st.sampled_from([1, 20, 31, 400]))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def rescue(self) -> None:
        for job_id in self.queue.rescue_lost():
            del self.valid[job_id]

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.jobs))
        try:
            job = self.queue.request_cancel(job_id)
        except JobAlreadyEnded:
            assert self.ended[job_id] is not JobState.CANCELLED
        else:
            assert job.desired is Desired.CANCEL

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), write=st.sampled_from(["heartbeat", "start", "stopping", *range(len(SETTLEMENTS))]))
    def work(self, data: st.DataObject, write: str | int) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        holds = self.valid.get(claim.job_id) == claim
        try:
            match write:
                case "heartbeat":
                    self.queue.heartbeat(claim, lease_s=LEASE_S)
                case "start":
                    self.queue.start(claim)
                case "stopping":
                    self.queue.begin_stopping(claim)
                case int():
                    self.queue.settle(claim, SETTLEMENTS[write])
                    del self.valid[claim.job_id]
        except LeaseLost:
            assert not holds
        except IllegalTransition:
            assert holds
        else:
            assert holds

    @invariant()
    def promises_hold(self) -> None:
        for job_id in self.jobs:
            job = self.queue.get(job_id)
            assert job.state.is_leased == (job_id in self.valid)
            assert job.attempt == len(job.attempts) <= job.max_attempts
            assert sum(attempt.ended_at is None for attempt in job.attempts) == job.state.is_leased
            if job_id in self.ended:
                assert job.state is self.ended[job_id]  # an end is for ever
            elif job.state.is_terminal:
                self.ended[job_id] = job.state
        with self.engine.connect() as connection:
            moves = connection.execute(text("SELECT DISTINCT from_state, to_state FROM job_event")).all()
        assert all(JobState(target) in TRANSITIONS[JobState(source)] for source, target in moves if source)


def test_no_history_breaks_a_promise(sqlite_template: Path, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()  # ids in order: a history that is played again must go the same way
    monkeypatch.setattr("service.queue.repository.secrets.token_hex", lambda _: f"{next(numbers):012x}")
    machine = type("Machine", (History,), {"template": sqlite_template, "spec": spec})
    few = settings(
        max_examples=30, stateful_step_count=25, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=few)
