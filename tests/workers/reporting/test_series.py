import math
from pathlib import Path

from tests.workers.reporting.samples import write_spool
from workers.reporting.series import read_spools
from workers.spool import EventSpool, MetricsEvent


def test_steps_that_a_later_attempt_repeats_are_read_once(tmp_path: Path) -> None:
    write_spool(tmp_path, attempt=1, steps=range(20, 101, 20))
    write_spool(tmp_path, attempt=2, steps=range(60, 141, 20))
    assert read_spools(tmp_path).series["rate/labels"].steps == [20, 40, 60, 80, 100, 120, 140]


def test_the_time_between_attempts_is_not_work(tmp_path: Path) -> None:
    write_spool(tmp_path, attempt=1, steps=range(20, 61, 20))
    write_spool(tmp_path, attempt=2, steps=range(10_000, 10_041, 20))
    told = read_spools(tmp_path)
    assert (told.attempts, told.worked_s) == (2, 20.0)


def test_what_is_not_finite_is_a_gap(tmp_path: Path) -> None:
    folder = tmp_path / "attempt-1"
    folder.mkdir()
    EventSpool(folder / "events.jsonl").append(MetricsEvent(global_step=1, values={"loss/mil": math.inf}))
    assert math.isnan(read_spools(tmp_path).series["loss/mil"].values[0])


def test_a_run_without_a_spool_tells_nothing(tmp_path: Path) -> None:
    told = read_spools(tmp_path)
    assert (told.series, told.attempts, told.worked_s, told.began_at_ms) == ({}, 0, 0, None)
