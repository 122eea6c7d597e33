from collections.abc import Callable

import pytest

from service.errors import DatabaseUnavailable, LeaseLost
from service.jobs.states import Desired, JobState
from service.queue.records import Claim, Job, Pulse
from service.queue.repository import JobQueue
from tests.workers.conftest import wait_until
from workers.lease import LeaseKeeper

WELL = Pulse(Desired.RUN, JobState.RUNNING, overdue=False)


class Answers:
    """A queue whose heartbeat does what it is told to."""

    def __init__(self) -> None:
        self.answer: Pulse | Exception = WELL

    def heartbeat(self, _claim: Claim, *, lease_s: float) -> Pulse:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def keeper(answers: Answers, clock: list[float], queue: JobQueue, submit: Callable[..., Job]) -> LeaseKeeper:
    submit()
    claim = queue.claim("worker-a", lease_s=30)
    assert claim is not None
    return LeaseKeeper(
        answers,  # type: ignore[arg-type]
        claim,
        lease_s=30,
        interval_s=10,
        claimed_at_s=clock[0],
        monotonic=lambda: clock[0],
    )


def test_a_lease_that_is_renewed_lasts(keeper: LeaseKeeper, clock: list[float]) -> None:
    for _ in range(10):
        clock[0] += 10
        keeper.beat()
    assert not keeper.is_lost


def test_a_lease_that_another_has_is_lost_at_once(keeper: LeaseKeeper, answers: Answers) -> None:
    answers.answer = LeaseLost("taken")
    keeper.beat()
    assert keeper.is_lost


def test_a_database_that_is_away_for_a_moment_costs_nothing(
    keeper: LeaseKeeper, answers: Answers, clock: list[float]
) -> None:
    answers.answer = DatabaseUnavailable("away")
    clock[0] += 20
    keeper.beat()
    assert not keeper.is_lost
    answers.answer = WELL
    keeper.beat()
    clock[0] += 25
    assert not keeper.is_lost


def test_a_database_that_is_away_for_as_long_as_the_lease_loses_it(
    keeper: LeaseKeeper, answers: Answers, clock: list[float]
) -> None:
    answers.answer = DatabaseUnavailable("away")
    clock[0] += 30.5
    keeper.beat()
    assert keeper.is_lost


def test_a_beat_that_hangs_does_not_hide_that_the_lease_ran_out(keeper: LeaseKeeper, clock: list[float]) -> None:
    clock[0] += 31  # nobody has returned from a heartbeat meanwhile
    assert keeper.is_lost


def test_who_works_under_the_lease_is_told_until_when_it_is_held(
    keeper: LeaseKeeper, answers: Answers, clock: list[float]
) -> None:
    told: list[float] = []
    keeper.inform(told.append)
    clock[0] += 10
    keeper.beat()
    answers.answer = DatabaseUnavailable("away")
    clock[0] += 10
    keeper.beat()
    assert told == [130, 140]


def test_a_wish_to_cancel_is_heard(keeper: LeaseKeeper, answers: Answers) -> None:
    assert keeper.pulse.desired is Desired.RUN
    answers.answer = Pulse(Desired.CANCEL, JobState.RUNNING, overdue=True)
    keeper.beat()
    assert keeper.pulse == answers.answer


def test_beats_come_by_themselves_while_the_block_lasts(queue: JobQueue, submit: Callable[..., Job]) -> None:
    job = submit()
    claim = queue.claim("worker-a", lease_s=30)
    assert claim is not None
    with LeaseKeeper(queue, claim, lease_s=30, interval_s=0.01, claimed_at_s=0, monotonic=lambda: 0.0) as keeper:
        queue.request_cancel(job.job_id)
        wait_until(lambda: keeper.pulse.desired is Desired.CANCEL)
