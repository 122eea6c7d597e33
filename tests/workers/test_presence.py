import threading
from pathlib import Path

import pytest

from service.jobs.capacity import Capacity
from service.queue.repository import JobQueue
from tests.workers.conftest import wait_until
from workers.presence import WorkerPresence, capacity_of, gpus_here
from workers.settings import WorkerSettings

FOUR = Capacity.of_machine(cpus=4, gpus=0)


def presence(queue: JobQueue, *answers: Capacity | None, now: list[float] | None = None) -> WorkerPresence:
    said = iter(answers)
    clock = now or [0.0]
    return WorkerPresence(
        queue,
        "w",
        interval_s=0.01,
        capacity_interval_s=300,
        capacity=lambda: next(said),
        monotonic=lambda: clock[0],
    )


def test_a_worker_is_known_with_its_cluster_while_it_lives(queue: JobQueue) -> None:
    with presence(queue, FOUR):
        wait_until(lambda: [worker.capacity for worker in queue.workers()] == [FOUR])
    assert queue.workers() == ()


def test_a_worker_is_known_before_its_cluster_has_answered(queue: JobQueue) -> None:
    answered = threading.Event()

    def answer() -> Capacity:
        answered.wait(20)
        return FOUR

    with WorkerPresence(queue, "w", interval_s=0.01, capacity_interval_s=300, capacity=answer):
        wait_until(lambda: [worker.capacity for worker in queue.workers()] == [None])
        answered.set()
        wait_until(lambda: [worker.capacity for worker in queue.workers()] == [FOUR])


def test_what_a_cluster_had_stays_known_when_it_does_not_answer_later(queue: JobQueue) -> None:
    now = [0.0]
    here = presence(queue, FOUR, None, now=now)
    here.beat()
    now[0] = 300.0
    here.beat()
    assert [worker.capacity for worker in queue.workers()] == [FOUR]


def test_a_worker_that_died_is_not_counted(queue: JobQueue, later_queue: JobQueue) -> None:
    presence(queue, FOUR).beat()
    assert later_queue.workers() == ()


def test_a_cluster_of_its_own_has_what_the_machine_has(settings: WorkerSettings) -> None:
    own = settings.model_copy(update={"ray_num_cpus": 3})
    capacity = capacity_of(own.ray_order)
    assert capacity is not None
    assert (capacity.nodes[0].cpus, capacity.grows) == (3, False)


def test_gpus_are_counted_as_far_as_they_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus_here(tmp_path) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus_here(tmp_path) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_here(tmp_path) == 0
