import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from sdcn_core.config.data import ScenesSource, VocSource
from service.errors import DatasetExists, DatasetInUse, DatasetNotFound, InvalidSpec
from service.jobs.data_specs import CheckDataSpec, DatasetSpec
from service.jobs.specs import TrainSpec
from service.jobs.states import DatasetState, FailureReason, JobState
from service.queue.datasets import DatasetRegister
from service.queue.records import Claim, Dataset, Settlement
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock
from tests.service.data_counts import PROBLEM, counts

ANIMALS = DatasetSpec(name="animals", source=VocSource(path="animals"))


@pytest.fixture
def datasets(engine: Engine, clock: FakeClock) -> DatasetRegister:
    return DatasetRegister(engine, clock=clock)


@pytest.fixture
def animals(datasets: DatasetRegister) -> Dataset:
    return datasets.register(ANIMALS)


def begin(queue: JobQueue) -> Claim:
    claim = queue.claim("w", lease_s=30)
    assert claim is not None
    queue.start(claim)
    return claim


def check_ends(queue: JobQueue, settlement: Settlement) -> None:
    queue.settle(begin(queue), settlement)


def succeeded(*problems: str) -> Settlement:
    return Settlement.succeeded(counts(*problems).model_dump(mode="json"))


def test_registering_queues_a_check_of_the_source(datasets: DatasetRegister, queue: JobQueue, animals: Dataset) -> None:
    assert datasets.get("animals") == animals
    assert (animals.state, animals.problems, animals.found) == (DatasetState.CHECKING, (), None)
    claim = begin(queue)
    assert claim.job_id == animals.check.job_id
    assert claim.spec == CheckDataSpec(name="animals", source=VocSource(path="animals"))


def test_a_check_without_problems_makes_it_ready(datasets: DatasetRegister, queue: JobQueue, animals: Dataset) -> None:
    check_ends(queue, succeeded())
    found = datasets.get("animals")
    assert (found.state, found.found, found.problems) == (DatasetState.READY, counts(), ())


def test_problems_refuse_it_and_its_counts_are_kept(
    datasets: DatasetRegister, queue: JobQueue, animals: Dataset
) -> None:
    check_ends(queue, succeeded(PROBLEM))
    found = datasets.get("animals")
    assert (found.state, found.problems, found.found) == (DatasetState.REFUSED, (PROBLEM,), counts(PROBLEM))


@pytest.mark.parametrize(
    ("settlement", "state", "said"),
    [
        (Settlement.failed(FailureReason.BAD_INPUT, "no such folder"), DatasetState.REFUSED, "failed: no such folder"),
        (Settlement.failed(FailureReason.OUT_OF_MEMORY, "it was full"), DatasetState.UNCHECKED, "failed: it was full"),
        (Settlement.cancelled(), DatasetState.UNCHECKED, "the check cancelled: cancelled on request"),
        (Settlement.succeeded({"kind": "check_data", "older": 1}), DatasetState.UNCHECKED, "another version"),
    ],
)
def test_a_check_that_finds_nothing_out_is_told_with_the_way_to_another(
    datasets: DatasetRegister, queue: JobQueue, animals: Dataset, settlement: Settlement, state: DatasetState, said: str
) -> None:
    check_ends(queue, settlement)
    found = datasets.get("animals")
    assert (found.state, found.found) == (state, None)
    assert said in found.problems[0]
    assert "POST /v1/datasets/animals/check" in found.problems[0]


def test_a_name_is_given_once(datasets: DatasetRegister, queue: JobQueue, animals: Dataset) -> None:
    with pytest.raises(DatasetExists, match="DELETE /v1/datasets/animals"):
        datasets.register(DatasetSpec(name="animals", source=ScenesSource()))
    assert len(queue.page(limit=10).jobs) == 1


def test_a_name_given_by_many_threads_at_once_is_given_once(datasets: DatasetRegister, queue: JobQueue) -> None:
    def register(_: int) -> bool:
        try:
            datasets.register(ANIMALS)
        except DatasetExists:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(register, range(8))) == 1
    assert len(queue.page(limit=10).jobs) == 1


def test_an_unknown_name_is_told_with_those_there_are(datasets: DatasetRegister) -> None:
    with pytest.raises(DatasetNotFound, match="there is none yet"):
        datasets.get("animals")
    for number in range(22):
        datasets.register(DatasetSpec(name=f"set-{number:02d}", source=ScenesSource(seed=number)))
    for ask in (datasets.get, datasets.check_again, datasets.remove):
        with pytest.raises(DatasetNotFound, match=r"'animals'; there are: set-00, .*, set-19, \.\.\.$"):
            ask("animals")


def test_another_check_follows_the_first_and_makes_the_state_anew(
    datasets: DatasetRegister, queue: JobQueue, animals: Dataset
) -> None:
    assert datasets.check_again("animals").check.job_id == animals.check.job_id  # it has not even begun
    check_ends(queue, succeeded(PROBLEM))
    again = datasets.check_again("animals")
    assert again.state is DatasetState.CHECKING
    assert again.check.job_id != animals.check.job_id
    check_ends(queue, succeeded())
    assert datasets.get("animals").state is DatasetState.READY


def test_pages_go_on_behind_the_last_name(datasets: DatasetRegister) -> None:
    for name in ("c", "a", "b"):
        datasets.register(DatasetSpec(name=name, source=ScenesSource()))
    first = datasets.page(limit=2)
    assert ([one.name for one in first.datasets], first.following) == (["a", "b"], "b")
    second = datasets.page(limit=2, after=first.following)
    assert ([one.name for one in second.datasets], second.following) == (["c"], None)


def test_it_cannot_be_removed_while_a_job_that_has_not_ended_uses_it(
    datasets: DatasetRegister, queue: JobQueue, animals: Dataset, spec: TrainSpec
) -> None:
    with pytest.raises(DatasetInUse, match=animals.check.job_id):
        datasets.remove("animals")
    check_ends(queue, succeeded())
    user, _ = queue.enqueue(spec, idempotency_key=None, body_digest="", datasets=("animals",))
    with pytest.raises(DatasetInUse, match=f"{user.job_id}.*cancel them first"):
        datasets.remove("animals")
    queue.request_cancel(user.job_id)
    datasets.remove("animals")
    with pytest.raises(DatasetNotFound):
        datasets.get("animals")
    assert queue.get(user.job_id).state is JobState.CANCELLED
    assert datasets.register(ANIMALS).state is DatasetState.CHECKING  # the name is free again


def test_a_job_on_a_data_set_that_is_gone_is_not_stored(queue: JobQueue, spec: TrainSpec) -> None:
    with pytest.raises(DatasetNotFound, match="animals"):
        queue.enqueue(spec, idempotency_key="k", body_digest="", datasets=("animals",))
    assert queue.page(limit=10).jobs == ()


def test_removing_and_using_at_once_leaves_no_job_without_its_data_set(
    datasets: DatasetRegister, queue: JobQueue, spec: TrainSpec
) -> None:
    for _ in range(5):
        datasets.register(ANIMALS)
        check_ends(queue, succeeded())
        together = threading.Barrier(2)

        def use(together: threading.Barrier = together) -> str | None:
            together.wait()
            try:
                return queue.enqueue(spec, idempotency_key=None, body_digest="", datasets=("animals",))[0].job_id
            except DatasetNotFound:
                return None

        def remove(together: threading.Barrier = together) -> bool:
            together.wait()
            try:
                datasets.remove("animals")
            except DatasetInUse:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            job, removed = pool.submit(use), pool.submit(remove)
            assert (job.result() is None) == removed.result()
        if job_id := job.result():
            queue.request_cancel(job_id)
            datasets.remove("animals")


def test_a_source_of_another_version_is_told(engine: Engine, datasets: DatasetRegister, animals: Dataset) -> None:
    with engine.begin() as connection:
        connection.execute(text('UPDATE dataset SET source = \'{"kind": "tapes"}\''))
    found = datasets.get("animals")
    with pytest.raises(InvalidSpec, match="register it again"):
        found.spec()
