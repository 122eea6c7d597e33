import pytest
from sqlalchemy import Engine

from service.errors import JobNotFound
from service.jobs.specs import TrainSpec
from service.jobs.states import JobState
from service.queue.event_log import EventLog
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue


@pytest.fixture
def events(engine: Engine, clock: FakeClock) -> EventLog:
    return EventLog(engine, clock=clock)


def run_to_its_end(queue: JobQueue) -> None:
    claim = queue.claim("worker-1", lease_s=30)
    assert claim is not None
    queue.start(claim, pid=1)
    queue.settle(claim, Settlement.succeeded({}))


def test_every_change_of_state_is_there_in_its_order(events: EventLog, queue: JobQueue, job: Job) -> None:
    run_to_its_end(queue)
    page = events.page(job.job_id, after=0, limit=100)
    assert page[0].from_state is None
    assert page[-1].to_state is JobState.SUCCEEDED
    assert [event.from_state for event in page[1:]] == [event.to_state for event in page[:-1]]
    assert [event.event_id for event in page] == sorted({event.event_id for event in page})


def test_pages_join_without_a_gap_or_a_double(events: EventLog, queue: JobQueue, job: Job) -> None:
    run_to_its_end(queue)
    whole = events.page(job.job_id, after=0, limit=100)
    walked = []
    while page := events.page(job.job_id, after=walked[-1].event_id if walked else 0, limit=1):
        walked += page
    assert tuple(walked) == whole


def test_an_unknown_job_has_no_events(events: EventLog) -> None:
    with pytest.raises(JobNotFound, match="GET /v1/jobs"):
        events.page("nobody", after=0, limit=1)


def test_a_look_at_many_jobs_finds_what_is_new_of_each(
    events: EventLog, queue: JobQueue, job: Job, spec: TrainSpec
) -> None:
    run_to_its_end(queue)
    other = enqueue(queue, spec)
    first = events.page(job.job_id, after=0, limit=1)[0].event_id
    news = events.look({job.job_id: first, other.job_id: 0, "gone": 0})
    assert news.keys() == {job.job_id, other.job_id}
    assert news[job.job_id].events == events.page(job.job_id, after=first, limit=100)
    assert news[job.job_id].attempt == 1
    assert [event.to_state for event in news[other.job_id].events] == [JobState.QUEUED]


def test_a_look_that_finds_nothing_new_says_so(events: EventLog, job: Job) -> None:
    last = events.page(job.job_id, after=0, limit=100)[-1].event_id
    assert events.look({job.job_id: last})[job.job_id].events == ()
