"""Delivery to a real MLflow on SQLite, without a server."""

import dataclasses
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.jobs.second_stage_results import PseudoLabelsFound, SecondStageResults
from service.jobs.states import FailureReason
from service.jobs.study_results import EvaluateResults
from service.queue.records import Claim, Settlement
from service.queue.repository import JobQueue
from tests.workers.tracking.judged import results_without_boxes
from workers.attempt_folder import AttemptFolder, RunFolder
from workers.errors import TrackingUnavailable
from workers.spool import EventSpool, FileEvent, MetricsEvent

pytest.importorskip("mlflow")
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from workers.tracking import mlflow_log
from workers.tracking.delivery import DeliveryState, Destination, deliver
from workers.tracking.mlflow_log import MlflowLog, QueueJobs
from workers.tracking.tracked_run import JOB_TAG, TrackingFiles, describe

Spools = Callable[[int], EventSpool]


def loss(step: int, value: float, **more: float) -> MetricsEvent:
    return MetricsEvent(time_ms=1_000_000 + step, global_step=step, values={"loss/mil": value, **more})


def points(client: MlflowClient, run: Run, name: str = "loss/mil") -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]


def test_a_run_is_made_and_tied_to_its_job(
    run: RunFolder, destination: Destination, queue: JobQueue, claim: Claim, recorded: Callable[[], Run]
) -> None:
    assert not deliver(run.path, destination, QueueJobs(queue)), "the job goes on"
    made = recorded()
    assert made.data.tags[JOB_TAG] == claim.job_id
    assert made.data.params["objective.tau_0"] == "0.5"
    assert made.info.status == "RUNNING"


def test_metrics_arrive_with_their_steps_and_times(
    run: RunFolder, spool_of: Spools, destination: Destination, queue: JobQueue, recorded: Callable[[], Run]
) -> None:
    spool = spool_of(1)
    for step in (20, 40, 60):
        spool.append(loss(step, 1 / step))
    deliver(run.path, destination, QueueJobs(queue))
    assert points(destination.client, recorded()) == [(20, 1 / 20), (40, 1 / 40), (60, 1 / 60)]
    assert recorded().data.tags["sdcn.attempt"] == "1"


def test_steps_that_are_trained_again_after_a_resume_are_recorded_once(
    run: RunFolder, spool_of: Spools, destination: Destination, queue: JobQueue, recorded: Callable[[], Run]
) -> None:
    first, second = spool_of(1), spool_of(2)
    for step in (20, 40, 60):
        first.append(loss(step, 1.0))
    deliver(run.path, destination, QueueJobs(queue))
    for step in (40, 60, 80):
        second.append(loss(step, 2.0))
    deliver(run.path, destination, QueueJobs(queue))
    assert points(destination.client, recorded()) == [(20, 1.0), (40, 1.0), (60, 1.0), (80, 2.0)]


@pytest.mark.parametrize("kind", ["train", "evaluate", "second_stage", "foreign"])
def test_results_without_boxes_are_told_on_the_run_in_their_own_words(
    run: RunFolder, spool_of: Spools, destination: Destination, queue: JobQueue, recorded: Callable[[], Run], kind: str
) -> None:
    trained = results_without_boxes(0.4)
    labels = PseudoLabelsFound(model_sha256="0" * 64, images=1, without_boxes=0, boxes={"disc": 1})
    found = {
        "train": trained.model_dump_json(),
        "evaluate": EvaluateResults(
            model="abc", classes=("disc",), ap_split="test", corloc_split="train", judgement=trained.trained
        ).model_dump_json(),
        "second_stage": SecondStageResults(
            model="abc", classes=("disc",), pseudo_labels=labels, student=trained
        ).model_dump_json(),
        "foreign": '{"of": "another version"}',
    }
    path = run.path / "results.json"
    path.write_text(found[kind])
    spool_of(1).append(FileEvent(name="results.json", path=path))
    deliver(run.path, destination, QueueJobs(queue))
    said = None if kind == "foreign" else "no boxes: AP and CorLoc cannot be counted"
    assert recorded().data.tags.get("sdcn.without_boxes") == said


def test_a_delivery_that_was_forgotten_is_repeated_without_a_trace(
    run: RunFolder, spool_of: Spools, destination: Destination, queue: JobQueue, recorded: Callable[[], Run]
) -> None:
    spool_of(1).append(loss(20, 1.0))
    deliver(run.path, destination, QueueJobs(queue))
    TrackingFiles(run.path).state.unlink()  # as if it had died before it could write this down
    deliver(run.path, destination, QueueJobs(queue))
    assert points(destination.client, recorded()) == [(20, 1.0)]
    found = destination.client.search_runs([recorded().info.experiment_id], f"tags.`{JOB_TAG}` = '{run.path.name}'")
    assert len(found) == 1


def test_a_metric_of_another_kind_at_the_same_step_is_recorded(
    run: RunFolder, spool_of: Spools, destination: Destination, queue: JobQueue, recorded: Callable[[], Run]
) -> None:
    spool = spool_of(1)
    spool.append(loss(20, 1.0))
    spool.append(MetricsEvent(global_step=20, values={"eval/ap/disc": 0.5}))
    deliver(run.path, destination, QueueJobs(queue))
    assert points(destination.client, recorded(), "eval/ap/disc") == [(20, 0.5)]


def test_infinities_do_not_flatten_the_chart(
    run: RunFolder, spool_of: Spools, destination: Destination, queue: JobQueue, recorded: Callable[[], Run]
) -> None:
    spool_of(1).append(loss(20, math.inf, other=math.nan))
    deliver(run.path, destination, QueueJobs(queue))
    assert math.isnan(points(destination.client, recorded())[0][1])
    assert math.isnan(points(destination.client, recorded(), "other")[0][1])


def test_more_points_than_a_batch_holds_all_arrive(
    run: RunFolder, spool_of: Spools, destination: Destination, queue: JobQueue, recorded: Callable[[], Run]
) -> None:
    spool = spool_of(1)
    for step in range(1, 1202):
        spool.append(loss(step, 0.5))
    deliver(run.path, destination, QueueJobs(queue))
    assert len(points(destination.client, recorded())) == 1201


def test_a_name_mlflow_refuses_does_not_hold_up_the_rest(
    run: RunFolder, spool_of: Spools, destination: Destination, queue: JobQueue, recorded: Callable[[], Run]
) -> None:
    spool = spool_of(1)
    spool.append(MetricsEvent(global_step=1, values={"what?": 1.0}))
    deliver(run.path, destination, QueueJobs(queue))
    spool.append(loss(20, 1.0))
    deliver(run.path, destination, QueueJobs(queue))
    assert points(destination.client, recorded()) == [(20, 1.0)]


def test_files_become_artifacts_and_huge_ones_stay_here(
    run: RunFolder,
    spool_of: Spools,
    destination: Destination,
    queue: JobQueue,
    recorded: Callable[[], Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.tracking.run_writer.UPLOAD_LIMIT_BYTES", 10)
    (tmp_path / "small.json").write_text("{}")
    (tmp_path / "huge.pt").write_text("x" * 11)
    spool = spool_of(1)
    for name in ("small.json", "huge.pt", "gone.png"):
        spool.append(FileEvent(name=name, path=tmp_path / name))
    deliver(run.path, destination, QueueJobs(queue))
    kept = destination.client.list_artifacts(recorded().info.run_id)
    assert [file.path for file in kept] == ["small.json"]


@pytest.mark.parametrize(
    ("settlement", "status"),
    [
        (Settlement.succeeded({}), "FINISHED"),
        (Settlement.failed(FailureReason.DIVERGED, "loss/mil is nan"), "FAILED"),
        (Settlement.cancelled(), "KILLED"),
    ],
)
def test_a_run_is_closed_as_its_job_ended(
    settlement: Settlement,
    status: str,
    run: RunFolder,
    destination: Destination,
    queue: JobQueue,
    claim: Claim,
    recorded: Callable[[], Run],
) -> None:
    queue.start(claim)
    queue.settle(claim, settlement)
    assert deliver(run.path, destination, QueueJobs(queue))
    assert recorded().info.status == status
    assert not TrackingFiles(run.path).run.exists()
    assert deliver(run.path, destination, QueueJobs(queue)), "again changes nothing"


def test_a_job_that_waits_for_another_attempt_keeps_its_run_open(
    run: RunFolder, destination: Destination, queue: JobQueue, claim: Claim, recorded: Callable[[], Run]
) -> None:
    queue.settle(claim, Settlement.retry(FailureReason.LOST_WORKER, "gone"))
    assert not deliver(run.path, destination, QueueJobs(queue))
    assert recorded().info.status == "RUNNING"


@pytest.mark.parametrize("has_ended", [False, True])
def test_of_a_run_that_somebody_has_deleted_nothing_is_left_to_deliver(
    has_ended: bool,
    run: RunFolder,
    spool_of: Spools,
    destination: Destination,
    queue: JobQueue,
    claim: Claim,
    recorded: Callable[[], Run],
) -> None:
    spool = spool_of(1)
    spool.append(loss(20, 1.0))
    deliver(run.path, destination, QueueJobs(queue))
    destination.client.delete_run(recorded().info.run_id)
    if has_ended:
        queue.start(claim)
        queue.settle(claim, Settlement.succeeded({}))
    else:
        spool.append(loss(40, 1.0))
    with capture_logs() as logged:
        assert deliver(run.path, destination, QueueJobs(queue))
        assert not TrackingFiles(run.path).run.exists()
        describe(claim, run.path)  # a later attempt
        assert deliver(run.path, destination, QueueJobs(queue))
    assert [entry["event"] for entry in logged] == ["tracking.run_deleted"]


def test_a_job_that_the_queue_does_not_know_gets_no_run(
    run: RunFolder, destination: Destination, queue: JobQueue, claim: Claim
) -> None:
    elsewhere = run.path.parent / "elsewhere"
    describe(dataclasses.replace(claim, job_id="elsewhere"), elsewhere)
    assert not deliver(elsewhere, destination, QueueJobs(queue))
    of_job = f"tags.`{JOB_TAG}` = 'elsewhere'"
    assert destination.client.search_runs([destination.experiment_id()], of_job) == []
    assert TrackingFiles(elsewhere).run.exists(), "the workers that know it deliver it"


def test_two_workers_do_not_deliver_one_run_at_once(
    run: RunFolder, spool_of: Spools, destination: Destination, queue: JobQueue
) -> None:
    import fcntl

    spool_of(1).append(loss(20, 1.0))
    with TrackingFiles(run.path).lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not deliver(run.path, destination, QueueJobs(queue))
    assert not TrackingFiles(run.path).state.exists()


class Deliveries:
    """Stands for `deliver`: what was tried, in order."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self._errors: dict[str, Exception] = {}
        self._changed = threading.Condition()

    def fail(self, job_id: str, error: Exception) -> None:
        self._errors[job_id] = error

    def wait_for(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.tried) >= count, timeout=60)

    def __call__(self, run_path: Path, _destination: Destination, _jobs: QueueJobs) -> bool:
        with self._changed:
            self.tried.append(run_path.name)
            self._changed.notify_all()
        if run_path.name in self._errors:
            raise self._errors[run_path.name]
        return True


class TestMlflowLog:
    """The thread around it."""

    @pytest.fixture
    def make(self, queue: JobQueue, tmp_path: Path) -> Iterator[Callable[[str], MlflowLog]]:
        made: list[MlflowLog] = []

        def make_log(uri: str) -> MlflowLog:
            made.append(
                MlflowLog(
                    queue,
                    runs=tmp_path / "home" / "runs",
                    tracking_uri=uri,
                    experiment="test",
                    artifacts=tmp_path / "artifacts",
                )
            )
            return made[-1]

        yield make_log
        for log in made:
            log.close(timeout_s=30)

    def test_a_flush_returns_when_all_is_delivered(
        self,
        make: Callable[[str], MlflowLog],
        tracking_uri: str,
        claim: Claim,
        run: RunFolder,
        spool_of: Spools,
        client: MlflowClient,
        recorded: Callable[[], Run],
    ) -> None:
        log = make(tracking_uri)
        log.begin(claim, run.path)
        spool_of(1).append(loss(20, 1.0))
        assert log.flush(claim.job_id, timeout_s=60)
        assert points(client, recorded()) == [(20, 1.0)]

    def test_an_ended_job_is_closed_without_anybody_waiting(
        self,
        make: Callable[[str], MlflowLog],
        tracking_uri: str,
        claim: Claim,
        run: RunFolder,
        queue: JobQueue,
        recorded: Callable[[], Run],
    ) -> None:
        log = make(tracking_uri)
        log.begin(claim, run.path)
        queue.start(claim)
        queue.settle(claim, Settlement.succeeded({}))
        log.ended(claim.job_id)
        log.close(timeout_s=60)
        assert recorded().info.status == "FINISHED"

    def test_what_a_dead_worker_left_is_delivered_by_the_next(
        self,
        make: Callable[[str], MlflowLog],
        tracking_uri: str,
        claim: Claim,
        run: RunFolder,
        spool_of: Spools,
        queue: JobQueue,
        client: MlflowClient,
        recorded: Callable[[], Run],
    ) -> None:
        spool_of(1).append(loss(20, 1.0))
        queue.start(claim)
        queue.settle(claim, Settlement.succeeded({}))
        make(tracking_uri).close(timeout_s=60)
        assert points(client, recorded()) == [(20, 1.0)]
        assert recorded().info.status == "FINISHED"

    def test_a_server_that_is_away_delays_nobody_and_hears_it_all_later(
        self,
        make: Callable[[str], MlflowLog],
        tracking_uri: str,
        claim: Claim,
        run: RunFolder,
        spool_of: Spools,
        client: MlflowClient,
        queue: JobQueue,
        recorded: Callable[[], Run],
    ) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            away = make(f"http://127.0.0.1:{unused.getsockname()[1]}")
            away.begin(claim, run.path)
            spool_of(1).append(loss(20, 1.0))
            assert not away.flush(claim.job_id, timeout_s=30)
            away.close(timeout_s=30)
        assert queue.get(claim.job_id).tracking_run_id is None
        back = make(tracking_uri)
        back.begin(claim, run.path)
        assert back.flush(claim.job_id, timeout_s=60)
        assert points(client, recorded()) == [(20, 1.0)]

    def test_jobs_that_can_never_be_delivered_hold_up_no_other(
        self,
        make: Callable[[str], MlflowLog],
        tracking_uri: str,
        claim: Claim,
        run: RunFolder,
        queue: JobQueue,
        recorded: Callable[[], Run],
    ) -> None:
        for number in range(20):
            unreadable = TrackingFiles(run.path.parent / f"another-version-{number}")
            unreadable.folder.mkdir(parents=True)
            unreadable.run.write_text("{}")
        queue.start(claim)
        queue.settle(claim, Settlement.succeeded({}))
        make(tracking_uri).close(timeout_s=60)
        assert recorded().info.status == "FINISHED"

    @pytest.fixture
    def deliveries(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Deliveries":
        """Of two jobs that are left on the storage, without waiting between passes."""
        for name in ("one", "other"):
            TrackingFiles(tmp_path / "home" / "runs" / name).folder.mkdir(parents=True)
            TrackingFiles(tmp_path / "home" / "runs" / name).run.touch()
        for name in ("PASS_INTERVAL_S", "LEFTOVERS_INTERVAL_S", "LONGEST_PAUSE_S"):
            monkeypatch.setattr(mlflow_log, name, 1e-5)
        deliveries = Deliveries()
        monkeypatch.setattr("workers.tracking.delivery.deliver", deliveries)
        return deliveries

    def test_a_job_for_which_the_server_seems_away_lets_others_go_first(
        self, make: Callable[[str], MlflowLog], tracking_uri: str, deliveries: "Deliveries"
    ) -> None:
        deliveries.fail("one", TrackingUnavailable("a bug of the server"))
        deliveries.fail("other", TrackingUnavailable("a bug of the server"))
        make(tracking_uri)
        assert deliveries.wait_for(10)
        assert set(deliveries.tried[:2]) == {"one", "other"}

    def test_a_job_that_fails_waits_longer_each_time_and_the_others_do_not(
        self,
        make: Callable[[str], MlflowLog],
        tracking_uri: str,
        deliveries: "Deliveries",
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(mlflow_log, "PASS_INTERVAL_S", 1e-3)
        deliveries.fail("one", ValueError("another version"))
        make(tracking_uri)
        assert deliveries.wait_for(200)
        assert 0 < deliveries.tried.count("one") < 20

    def test_a_server_that_is_away_for_a_day_is_still_asked(
        self, make: Callable[[str], MlflowLog], tracking_uri: str, deliveries: "Deliveries"
    ) -> None:
        for name in ("one", "other"):
            deliveries.fail(name, TrackingUnavailable("away"))
        make(tracking_uri)
        assert deliveries.wait_for(2500), "more than 1024 of each, of which no float can be the power of two"

    def test_a_server_that_does_not_answer_holds_up_a_flush_no_longer_than_asked(
        self, make: Callable[[str], MlflowLog], claim: Claim, run: RunFolder
    ) -> None:
        released = threading.Event()

        class Mute(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                released.wait(30)

            def log_message(self, *_arguments: object) -> None: ...

        with ThreadingHTTPServer(("127.0.0.1", 0), Mute) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            log = make(f"http://127.0.0.1:{server.server_port}")
            log.begin(claim, run.path)
            started = time.monotonic()
            assert not log.flush(claim.job_id, timeout_s=0.3)
            assert time.monotonic() - started < 5
            released.set()
            log.close(timeout_s=30)
            server.shutdown()


def test_the_delivery_state_is_readable_by_a_later_version() -> None:
    assert DeliveryState.model_validate_json('{"run_id": "r", "unknown": 1}').run_id == "r"


def test_an_attempt_folder_knows_its_number(tmp_path: Path) -> None:
    assert AttemptFolder(tmp_path / "attempt-12").number == 12


def test_threads_that_first_need_mlflow_at_the_same_time_all_get_it() -> None:
    script = """
import threading
from workers.tracking import mlflow_log
together, got = threading.Barrier(3), []
def need(room):
    together.wait()
    mlflow_log.import_mlflow()
    got.append(__import__("workers.tracking." + room, fromlist=["MlflowException"]).MlflowException)
threads = [threading.Thread(target=need, args=(room,)) for room in ("closing", "delivery", "run_writer")]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(got))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "3\n", done.stderr
