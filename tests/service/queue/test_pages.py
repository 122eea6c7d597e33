from service.jobs.specs import TrainSpec
from service.jobs.states import JobState
from service.queue.records import Cursor
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue


def test_pages_show_every_job_once_newest_first(queue: JobQueue, spec: TrainSpec, clock: FakeClock) -> None:
    made = []
    for number in range(7):
        made.append(enqueue(queue, spec).job_id)
        clock.advance(number % 2)  # several share a time, so that the id must tell them apart
    seen: list[str] = []
    after: Cursor | None = None
    while True:
        page = queue.page(limit=2, after=after)
        seen += [job.job_id for job in page.jobs]
        after = page.following
        if after is None:
            break
    assert sorted(seen) == sorted(made)
    assert seen[0] in made[-2:]


def test_a_page_is_not_disturbed_by_jobs_that_come_later(queue: JobQueue, spec: TrainSpec, clock: FakeClock) -> None:
    old = [enqueue(queue, spec).job_id for _ in range(2)]
    clock.advance(1)
    newest = enqueue(queue, spec).job_id
    first = queue.page(limit=1)
    clock.advance(1)
    enqueue(queue, spec)
    rest = queue.page(limit=5, after=first.following)
    assert [job.job_id for job in first.jobs] == [newest]
    assert sorted(job.job_id for job in rest.jobs) == sorted(old)


def test_filters_keep_what_they_name(queue: JobQueue, spec: TrainSpec) -> None:
    waiting, cancelled = enqueue(queue, spec), enqueue(queue, spec)
    queue.request_cancel(cancelled.job_id)
    assert [job.job_id for job in queue.page(states=[JobState.QUEUED], limit=9).jobs] == [waiting.job_id]
    assert len(queue.page(states=[JobState.QUEUED, JobState.CANCELLED], limit=9).jobs) == 2
    assert queue.page(kind="train", limit=9).following is None
    assert queue.page(kind="other", limit=9).jobs == ()


def test_an_exactly_full_page_is_the_last(queue: JobQueue, spec: TrainSpec) -> None:
    for _ in range(2):
        enqueue(queue, spec)
    assert queue.page(limit=2).following is None
