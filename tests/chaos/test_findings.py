"""What a run of chaos would notice."""

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.jobs.states import JobState
from service.queue.records import JobEvent
from tests.chaos import findings
from tests.chaos.report import Round, table
from tests.chaos.rounds import WEIGHTS, drawn
from tests.chaos.subject import Victim
from workers.attempt_folder import AttemptFolder, attempts_in
from workers.spool import EventSpool, MetricsEvent, ResumedEvent

WAY = (JobState.QUEUED, JobState.CLAIMED, JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED)


def trail(*states: JobState) -> list[JobEvent]:
    now = datetime.now(UTC)
    pairs = zip([None, *states], states, strict=False)
    return [JobEvent(n, "0a", 1, source, target, "w", None, now) for n, (source, target) in enumerate(pairs)]


def attempt(path: Path, number: int, *steps: int, resumed_at: int | None = None) -> None:
    """An attempt that has told of these steps."""
    folder = AttemptFolder(path / f"attempt-{number}")
    folder.path.mkdir()
    spool = EventSpool(folder.events)
    if resumed_at is not None:
        spool.append(ResumedEvent(global_step=resumed_at))
    for step in steps:
        spool.append(MetricsEvent(global_step=step, values={"time/step_s": 0.1}))


def test_a_trail_without_a_gap_and_with_one_end_is_well() -> None:
    assert list(findings.broken_trail("0a", trail(*WAY))) == []


def test_a_second_end_is_noticed() -> None:
    (said,) = findings.broken_trail("0a", trail(*WAY, JobState.FAILED))
    assert said == "job 0a has ended 2 times: succeeded, failed"


def test_a_move_that_was_not_written_is_noticed() -> None:
    events = trail(*WAY)
    assert list(findings.broken_trail("0a", events[:2] + events[3:])) == ["job 0a: its trail has a gap"]


def test_steps_are_lost_from_what_had_been_told_to_where_the_next_attempt_began(tmp_path: Path) -> None:
    attempt(tmp_path, 1, 2, 4, 6, 8, 10)
    attempt(tmp_path, 2)  # killed before it trained
    attempt(tmp_path, 3, 8, 10, 12, resumed_at=6)
    attempt(tmp_path, 4, 2, 4)
    found = list(findings.resumptions("0a", attempts_in(tmp_path)))
    assert [(one.attempt, one.began_at, one.steps_lost) for one in found] == [(3, 6, 4), (4, 0, 12)]
    (said,) = findings.too_many_steps_lost(found, interval=6)
    assert "attempt 4 of job 0a began at step 0, though step 12 had been told" in said


def test_a_job_that_was_acknowledged_and_is_gone_is_noticed() -> None:
    asked = [findings.Asked("a", job_id="0a"), findings.Asked("b")]
    assert list(findings.lost_jobs(asked, {})) == ["job 0a was acknowledged and is not there"]


@pytest.mark.parametrize("left", [{"free": 1}, {"groups": 1}, {"actors": 1}])
def test_what_is_not_given_back_to_ray_is_noticed(left: dict[str, float]) -> None:
    idle = {"total": 2, "free": 2, "groups": 0, "actors": 0}
    assert list(findings.taken_resources(idle)) == []
    assert len(list(findings.taken_resources(idle | left))) == 1


def test_every_victim_is_killed_before_one_is_killed_more_often_than_by_weight() -> None:
    assert set(drawn(len(Victim), random.Random(0), WEIGHTS)) == set(Victim)
    assert drawn(100, random.Random(7), WEIGHTS) == drawn(100, random.Random(7), WEIGHTS)
    assert set(drawn(50, random.Random(0), {Victim.API: 1})) == {Victim.API}


def test_the_table_has_a_row_for_every_victim() -> None:
    done = Round(1, Victim.WORKER, "worker (7)", 0, 2.5, 8.0, True, trains_after_s=12.0)
    told = table([done], [], [])
    assert "| worker | 1 | 2.5 | 2.5 | 12.0 | 12.0 |" in told
    assert all(f"| {victim} |" in told for victim in Victim)
