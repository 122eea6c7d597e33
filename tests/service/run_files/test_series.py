import math
from pathlib import Path

import pytest

from service.run_files import series
from service.run_files.folders import RunFiles
from service.run_files.series import Points, SeriesReader
from tests.service.run_files.spools import append, metrics, progress


def points(reader: SeriesReader, folder: Path, name: str = "loss/mil") -> Points:
    return reader.read(RunFiles(folder)).series[name]


def test_series_grow_with_their_spool(tmp_path: Path) -> None:
    reader = SeriesReader()
    append(tmp_path, 1, metrics(10, **{"loss/mil": 2.0}), progress(10, 0.1))
    assert points(reader, tmp_path) == Points((10,), (2.0,))
    append(tmp_path, 1, metrics(20, **{"loss/mil": 1.0}))
    assert points(reader, tmp_path) == Points((10, 20), (2.0, 1.0))


def test_what_was_read_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SeriesReader()
    append(tmp_path, 1, metrics(10, **{"loss/mil": 2.0}))
    points(reader, tmp_path)
    monkeypatch.setattr(series, "opened", None)  # would be called to read
    assert points(reader, tmp_path) == Points((10,), (2.0,))


def test_a_line_that_is_still_being_written_waits_for_its_end(tmp_path: Path) -> None:
    reader = SeriesReader()
    line = metrics(10, **{"loss/mil": 2.0})
    append(tmp_path, 1, line[:20], end="")
    assert reader.read(RunFiles(tmp_path)).series == {}
    append(tmp_path, 1, line[20:])
    assert points(reader, tmp_path) == Points((10,), (2.0,))


def test_of_a_step_that_a_second_attempt_repeats_the_later_value_counts(tmp_path: Path) -> None:
    append(tmp_path, 1, *(metrics(step, **{"loss/mil": 1.0}) for step in (10, 20, 30)))
    append(tmp_path, 2, *(metrics(step, **{"loss/mil": 5.0}) for step in (20, 25)))
    assert points(SeriesReader(), tmp_path) == Points((10, 20, 25, 30), (1.0, 5.0, 5.0, 1.0))


def test_attempts_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    append(tmp_path, 10, metrics(1, **{"loss/mil": 10.0}))
    append(tmp_path, 9, metrics(1, **{"loss/mil": 9.0}))
    assert points(SeriesReader(), tmp_path).values == (10.0,)


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"kind": "metrics"}', '{"kind": "metrics", "global_step": 1, "values": 3}', "\x00", '"metrics"'],
)
def test_a_line_that_says_nothing_is_passed_over(tmp_path: Path, line: str) -> None:
    append(tmp_path, 1, line, metrics(10, **{"loss/mil": 2.0}))
    assert points(SeriesReader(), tmp_path) == Points((10,), (2.0,))


def test_a_diverged_loss_is_kept_as_it_is(tmp_path: Path) -> None:
    append(tmp_path, 1, metrics(1, **{"loss/mil": math.inf}), metrics(2, **{"loss/mil": math.nan}))
    values = points(SeriesReader(), tmp_path).values
    assert math.isinf(values[0])
    assert math.isnan(values[1])


def test_a_long_series_is_thinned_and_keeps_its_peak(tmp_path: Path) -> None:
    lines = [metrics(step, **{"loss/mil": 99.0 if step == 7777 else 1.0}) for step in range(20_000)]
    append(tmp_path, 1, *lines)
    found = points(SeriesReader(), tmp_path)
    assert len(found.steps) <= series.MAX_POINTS
    assert max(found.values) == 99.0
    assert (found.steps[0], found.steps[-1]) == (0, 19_999)


def test_one_answer_reads_a_bounded_part_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "BLOCK_BYTES", 200)
    monkeypatch.setattr(series, "READ_BYTES", 300)
    append(tmp_path, 1, *(metrics(step, **{"loss/mil": 1.0}) for step in range(20)))
    reader = SeriesReader()
    looks = [reader.read(RunFiles(tmp_path))]
    assert not looks[0].complete
    while not looks[-1].complete:
        looks.append(reader.read(RunFiles(tmp_path)))
    assert looks[-1].series["loss/mil"].steps == tuple(range(20))


def test_a_spool_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    reader = SeriesReader()
    spool = append(tmp_path, 1, *(metrics(step, **{"loss/mil": 1.0}) for step in range(9)))
    points(reader, tmp_path)
    spool.unlink()
    append(tmp_path, 1, metrics(3, **{"loss/mil": 7.0}))
    reader.read(RunFiles(tmp_path))
    assert points(reader, tmp_path) == Points((3,), (7.0,))


def test_names_choose_among_the_series(tmp_path: Path) -> None:
    append(tmp_path, 1, metrics(1, a=1.0, b=2.0))
    assert set(SeriesReader().read(RunFiles(tmp_path), ["b", "c"]).series) == {"b"}


def test_of_a_job_without_files_there_is_nothing(tmp_path: Path) -> None:
    found = SeriesReader().read(RunFiles(tmp_path / "none"))
    assert (found.series, found.complete) == ({}, True)


def test_only_so_many_runs_are_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MAX_RUNS", 2)
    reader = SeriesReader()
    for number in range(3):
        append(tmp_path / str(number), 1, metrics(1, a=float(number)))
        points(reader, tmp_path / str(number), "a")
    assert [path.name for path in reader._runs] == ["1", "2"]
    assert points(reader, tmp_path / "0", "a").values == (0.0,)
