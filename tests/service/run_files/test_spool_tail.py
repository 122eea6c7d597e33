import math
from pathlib import Path

from service.run_files.spool_tail import END_BYTES, last_word
from tests.service.run_files.spools import append, metrics, progress


def test_the_last_report_and_the_last_metrics_are_told(tmp_path: Path) -> None:
    spool = append(tmp_path, 1, progress(1, 0.1), metrics(1, a=1.0), metrics(2, a=2.0), progress(2, 0.2), "{}")
    said = last_word(spool)
    assert said is not None
    assert (said.latest.step, said.latest.fraction, said.metrics) == (2, 0.2, {"a": 2.0})


def test_the_time_left_goes_by_the_mean_rate_of_the_attempt(tmp_path: Path) -> None:
    spool = append(tmp_path, 1, progress(0, 0.5, time_ms=1000), progress(10, 0.75, time_ms=11_000))
    said = last_word(spool)
    assert said is not None
    assert said.eta_s == 10.0


def test_a_single_report_tells_no_time(tmp_path: Path) -> None:
    said = last_word(append(tmp_path, 1, progress(0, 0.5)))
    assert said is not None
    assert said.eta_s is None


def test_only_the_ends_of_a_long_spool_are_read(tmp_path: Path) -> None:
    filler = metrics(5, **{f"m{i}": 1.0 for i in range(100)})
    lines = [progress(1, 0.0, time_ms=0), *[filler] * (4 * END_BYTES // len(filler)), progress(9, 0.5, time_ms=1000)]
    said = last_word(append(tmp_path, 1, *lines))
    assert said is not None
    assert (said.latest.step, said.eta_s) == (9, 1.0)


def test_half_a_line_at_the_end_is_not_believed(tmp_path: Path) -> None:
    append(tmp_path, 1, progress(1, 0.1))
    said = last_word(append(tmp_path, 1, progress(2, 0.2)[:-3], end=""))
    assert said is not None
    assert said.latest.step == 1


def test_nothing_said_is_nothing(tmp_path: Path) -> None:
    assert last_word(tmp_path / "attempt-1" / "events.jsonl") is None
    assert last_word(append(tmp_path, 1, metrics(1, a=1.0))) is None


def test_a_fraction_out_of_range_is_brought_into_it(tmp_path: Path) -> None:
    said = last_word(append(tmp_path, 1, progress(1, math.inf)))
    assert said is not None
    assert said.latest.fraction == 1.0
