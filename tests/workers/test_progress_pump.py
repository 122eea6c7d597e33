from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import LeaseLost
from service.jobs.progress import JobProgress
from service.queue.records import Claim, Job
from service.queue.repository import JobQueue
from workers.progress_pump import ProgressPump, RemainingTime
from workers.spool import EventSpool, NoteEvent, ProgressEvent, SpoolReader


def at(seconds: float, fraction: float, stage: str = "loop") -> ProgressEvent:
    return ProgressEvent(time_ms=round(seconds * 1000), stage=stage, step=0, stage_steps=1, fraction=fraction)


def test_the_first_event_says_nothing_about_the_end() -> None:
    assert RemainingTime().after(at(0, 0.1)) is None


def test_steady_work_is_extrapolated() -> None:
    remaining = RemainingTime()
    remaining.after(at(0, 0.2))
    assert remaining.after(at(10, 0.3)) == pytest.approx(70)


def test_work_that_does_not_move_has_no_end() -> None:
    remaining = RemainingTime()
    remaining.after(at(0, 0.2))
    assert remaining.after(at(60, 0.2)) is None


def test_a_slower_stage_is_noticed_within_the_window() -> None:
    remaining = RemainingTime()
    estimate = None
    for second in range(0, 100, 10):
        estimate = remaining.after(at(second, second * 0.005))
    for second in range(100, 400, 10):
        estimate = remaining.after(at(second, 0.5 + (second - 100) * 0.001))
    assert estimate == pytest.approx((1 - 0.79) / 0.001, rel=0.01)


def test_data_that_came_from_the_cache_does_not_promise_a_fast_run() -> None:
    remaining = RemainingTime()
    remaining.after(at(0, 0.0, "data"))
    assert remaining.after(at(6, 0.05, "data")) is not None
    assert remaining.after(at(7, 0.06, "backbone")) is None


class Recorder:
    """A queue that keeps what it is told."""

    def __init__(self) -> None:
        self.written: list[JobProgress] = []

    def record_progress(self, _claim: Claim, progress: JobProgress) -> None:
        self.written.append(progress)


def test_many_events_are_one_write_a_second(tmp_path: Path) -> None:
    spool, recorder, clock = EventSpool(tmp_path / "e"), Recorder(), [0.0]
    pump = ProgressPump(
        recorder,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        SpoolReader(tmp_path / "e"),
        interval_s=1,
        monotonic=lambda: clock[0],
    )
    for tick in range(30):
        clock[0] = tick / 10
        spool.append(at(tick, tick / 100))
        pump.pump()
    pump.pump(last=True)
    assert [progress.fraction for progress in recorder.written] == [0.0, 0.1, 0.2, 0.29]


def test_a_note_stands_until_the_next_stage_begins(tmp_path: Path) -> None:
    spool, recorder = EventSpool(tmp_path / "e"), Recorder()
    pump = ProgressPump(recorder, None, SpoolReader(tmp_path / "e"), interval_s=0)  # type: ignore[arg-type]
    for event in (at(0, 0.0, "data"), NoteEvent(text="starting"), at(1, 0.1, "backbone")):
        spool.append(event)
        pump.pump()
    assert [progress.message for progress in recorder.written] == [None, "starting", None]


def test_progress_of_a_lost_lease_is_refused(
    tmp_path: Path, queue: JobQueue, later_queue: JobQueue, submit: Callable[..., Job]
) -> None:
    submit()
    claim = queue.claim("worker-a", lease_s=20)
    assert claim is not None
    later_queue.rescue_lost()
    EventSpool(tmp_path / "e").append(at(0, 0.5))
    with pytest.raises(LeaseLost):
        ProgressPump(queue, claim, SpoolReader(tmp_path / "e"), interval_s=0).pump()
