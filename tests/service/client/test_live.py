import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from service.client.live import watch_live, whereabouts
from service.client.tables import job_details, results_table
from service.jobs.answers import FailureRead, JobLinks, JobRead
from service.jobs.progress import JobProgress
from service.jobs.results import TrainResults
from service.jobs.states import Desired, FailureReason, JobState
from tests.service.api.test_jobs import RESULTS

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def look(state: JobState, fraction: float | None = None, **more: object) -> JobRead:
    progress = None
    if fraction is not None:
        losses = {f"loss/{name}": 0.5 for name in ("mil", "ref", "adv", "cls", "seg")}
        progress = JobProgress(
            stage="loop", step=int(100 * fraction), stage_steps=100, fraction=fraction, eta_s=61, global_step=0,
            metrics={"rate/x": 1.0, **losses}, updated_at=NOW,
        )  # fmt: skip
    fields: dict[str, object] = {
        "id": "abc", "kind": "train", "name": None, "state": state, "desired": Desired.RUN, "priority": 0, "attempt": 1,
        "max_attempts": 3, "progress": progress, "failure": None, "config_digest": "d", "mlflow": None,
        "created_at": NOW, "updated_at": NOW, "available_at": NOW, "started_at": None, "ended_at": None,
        "links": JobLinks(self="", results="", cancel=""), "spec": {}, "attempts": (), "artifacts": (),
    }  # fmt: skip
    return JobRead.model_validate(fields | more)


def shown(looks: list[JobRead], *, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=150, markup=False, color_system=None)
    assert watch_live(looks, console) is looks[-1]
    return out.getvalue()


def test_a_person_sees_stage_losses_and_time_left() -> None:
    text = shown([look(JobState.QUEUED), look(JobState.RUNNING, 0.25)], terminal=True)
    assert "loop 25/100" in text
    assert "1 min 01 s left" in text
    assert "mil 0.5  ref 0.5  adv 0.5  cls 0.5" in text
    assert "seg" not in text  # a few are enough


def test_a_log_gets_a_line_for_each_tenth_and_not_for_each_look() -> None:
    looks = [look(JobState.RUNNING, share / 100) for share in range(0, 40, 2)] + [look(JobState.SUCCEEDED)]
    assert len(shown(looks, terminal=False).splitlines()) == 5


def test_no_look_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        watch_live([], Console(file=io.StringIO()))


def test_whereabouts_are_said_in_words() -> None:
    assert whereabouts(look(JobState.RUNNING)) == "running, nothing reported yet"
    assert whereabouts(look(JobState.RUNNING, 0.1, desired=Desired.CANCEL)) == "stopping soon"
    lost = FailureRead(reason=FailureReason.LOST_WORKER, message="", way_out="")
    waiting = look(JobState.RETRY_WAIT, failure=lost, attempt=2)
    assert whereabouts(waiting) == "waits to try again after lost_worker, attempt 2"


def test_the_table_has_every_class_and_the_means_beside_the_baselines() -> None:
    out = io.StringIO()
    Console(file=out, width=150).print(results_table(TrainResults.model_validate(RESULTS)))
    rows = {line.split()[1]: line for line in out.getvalue().splitlines() if line.startswith("│")}
    assert rows["car"].count("50.0") == 2
    assert "–" in rows["cat"]  # no test image has one
    assert rows["mean"].count("62.5") == 2
    assert "untrained" not in out.getvalue()


def test_details_show_brackets_as_they_are() -> None:
    out = io.StringIO()
    failure = FailureRead(reason=FailureReason.BAD_INPUT, message="[bold]x[/]", way_out="")
    console = Console(file=out, width=150, markup=False)
    console.print(job_details(look(JobState.FAILED, failure=failure)))
    assert "[bold]x[/]" in out.getvalue()
