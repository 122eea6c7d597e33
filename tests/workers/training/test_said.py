import math
from pathlib import Path

import pytest

from workers.attempt_folder import AttemptFolder
from workers.spool import Event, EventSpool, MetricsEvent, NoteEvent, ProgressEvent
from workers.training.said import said_in


def say(run_path: Path, attempt: int, *events: Event) -> None:
    folder = AttemptFolder(run_path / f"attempt-{attempt}")
    folder.path.mkdir(parents=True, exist_ok=True)
    spool = EventSpool(folder.events)
    for event in events:
        spool.append(event)
    spool.close()


def at(seconds: float, step: int) -> ProgressEvent:
    return ProgressEvent(
        stage="loop", step=step, stage_steps=99, fraction=0.5, global_step=step, time_ms=int(seconds * 1000)
    )


def metric(step: int, value: float, seconds: float = 1.0) -> MetricsEvent:
    return MetricsEvent(global_step=step, values={"loss/mil": value}, time_ms=int(seconds * 1000))


def test_the_time_between_attempts_is_not_counted(tmp_path: Path) -> None:
    say(tmp_path, 1, NoteEvent(text="starting", time_ms=0), at(10, 5))
    say(tmp_path, 2, NoteEvent(text="starting", time_ms=1_000_000), at(1020, 9))
    said = said_in(tmp_path)
    assert said.seconds == 30
    assert said.global_step == 9


def test_a_value_is_the_last_one_also_where_steps_were_repeated(tmp_path: Path) -> None:
    say(tmp_path, 2, metric(6, 0.25))
    say(tmp_path, 10, metric(5, 0.125))
    say(tmp_path, 1, metric(8, 0.5))
    assert said_in(tmp_path).values == {"loss/mil": 0.125}


def test_what_the_untrained_network_was_worth_is_no_value_of_the_run(tmp_path: Path) -> None:
    say(tmp_path, 1, metric(0, 0.5))
    assert said_in(tmp_path).values == {}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_does_not_take_the_place_of_what_is(tmp_path: Path, value: float) -> None:
    say(tmp_path, 1, metric(5, 0.5), metric(6, value))
    assert said_in(tmp_path).values == {"loss/mil": 0.5}


def test_nobody_said_anything(tmp_path: Path) -> None:
    said = said_in(tmp_path)
    assert (said.seconds, said.global_step, said.values) == (0, 0, {})
