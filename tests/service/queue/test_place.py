"""Where a job stands and what it waits for; which workers there are."""

from service.jobs.base_spec import Resources
from service.jobs.capacity import Capacity, Node
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue
from tests.service.queue.test_fencing import claimed

FOUR = Capacity.of_machine(cpus=4, gpus=0)


def stands(queue: JobQueue, job: Job) -> tuple[int | None, list[str]]:
    place = queue.place(job.job_id)
    assert place is not None
    return place.position, [one.kind for one in place.waiting_on]


def test_places_are_in_the_order_of_claims(queue: JobQueue, spec: TrainSpec, clock: FakeClock) -> None:
    jobs = []
    for priority in (0, 5, 0):
        jobs.append(enqueue(queue, spec.model_copy(update={"priority": priority})))
        clock.advance(1)
    positions = {job.job_id: stands(queue, job)[0] for job in jobs}
    assert list(positions.values()) == [2, 1, 3]
    assert [claimed(queue).job_id for _ in jobs] == sorted(positions, key=lambda job_id: positions[job_id] or 0)


def test_a_job_waits_for_nothing_where_a_worker_is_free(queue: JobQueue, job: Job, spec: TrainSpec) -> None:
    for name in ("a", "b"):
        queue.announce(name, FOUR, ttl_s=60)
    second, third = enqueue(queue, spec), enqueue(queue, spec)
    order = sorted((job, second, third), key=lambda one: stands(queue, one)[0] or 0)
    assert [stands(queue, one)[1] for one in order] == [[], [], ["turn"]]
    claimed(queue)
    assert [stands(queue, one)[1] for one in order[1:]] == [[], ["turn"]]
    assert queue.place(order[0].job_id) is None


def test_a_back_off_is_told_with_its_end(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    queue.announce("w", FOUR, ttl_s=60)
    queue.settle(claimed(queue), Settlement.retry(FailureReason.LOST_WORKER, "gone"))
    assert stands(queue, job) == (1, ["back_off"])
    clock.advance(5)
    assert stands(queue, job) == (1, [])


def test_room_that_no_cluster_has_is_told(queue: JobQueue, spec: TrainSpec) -> None:
    job = enqueue(queue, spec.model_copy(update={"resources": Resources(num_workers=5, cpus_per_worker=1)}))
    queue.announce("w", FOUR, ttl_s=60)
    assert stands(queue, job) == (1, ["resources"])
    queue.announce("w", Capacity(nodes=(Node(4, 0), Node(1, 0)), grows=True), ttl_s=60)
    assert stands(queue, job) == (1, [])


def test_a_worker_lives_as_long_as_it_beats(queue: JobQueue, clock: FakeClock) -> None:
    queue.announce("w", None, ttl_s=60)
    clock.advance(60)
    assert [worker.worker_id for worker in queue.workers()] == ["w"]
    queue.announce("w", FOUR, ttl_s=60)
    clock.advance(60.001)
    assert queue.workers() == ()
    queue.announce("w", None, ttl_s=60)
    (worker,) = queue.workers()
    assert worker.capacity == FOUR, "what it had is known until it is said anew"
    queue.leave("w")
    assert queue.workers() == ()


def test_workers_that_died_long_ago_are_forgotten(queue: JobQueue, clock: FakeClock) -> None:
    queue.announce("w", FOUR, ttl_s=60)
    clock.advance(86_000)
    queue.forget_workers()
    queue.announce("w", None, ttl_s=60)
    assert queue.workers()[0].capacity == FOUR
    clock.advance(90_000)
    queue.forget_workers()
    queue.announce("w", None, ttl_s=60)
    assert queue.workers()[0].capacity is None
