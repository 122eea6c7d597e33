import io
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from rich.console import Console

from service.client.errors import ApiProblem, ClientError, ServerUnreachable
from service.client.study_live import study_view, watch_study
from service.jobs.answers import FailureRead, LastWordRead, Problem, RunRead
from service.jobs.states import FailureReason, JobState, RunNow
from tests.service.client.test_live import look


def run(name: str, state: RunNow, fraction: float = 0.0, **more: object) -> RunRead:
    progress = LastWordRead(
        stage="loop", step=int(100 * fraction), stage_steps=100, fraction=fraction, global_step=0, eta_s=61,
        metrics={"loss/mil": 0.5}, updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    fields: dict[str, object] = {
        "name": name, "variant": name, "seed": 0, "overrides": {}, "state": state, "value": None, "mean_ap": None,
        "progress": progress if state is RunNow.RUNNING else None, "mean_corloc": None, "failure": None,
    }  # fmt: skip
    return RunRead.model_validate(fields | more)


def drawn(runs: Sequence[RunRead], *, room: int = 30) -> str:
    out = io.StringIO()
    console = Console(file=out, width=160, markup=False, color_system=None)
    console.print(study_view(look(JobState.RUNNING, 0.5), runs, room=room))
    return out.getvalue()


def test_each_run_has_its_row_with_what_matters_of_it() -> None:
    failure = FailureRead(reason=FailureReason.DIVERGED, message="loss mil is nan", way_out="")
    text = drawn([
        run("oicr", RunNow.SUCCEEDED, mean_ap=0.5),
        run("sdcn", RunNow.RUNNING, 0.25),
        run("apart", RunNow.FAILED, failure=failure),
        run("late", RunNow.WAITING),
    ])  # fmt: skip
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "mAP 50.0" in rows["oicr"]
    assert all(said in rows["sdcn"] for said in ("loop 25/100", "25%", "1 min 01 s left", "mil 0.5"))
    assert "loss mil is nan" in rows["apart"]
    assert "waiting" in rows["late"]


def test_where_not_all_have_room_those_at_work_are_shown() -> None:
    waiting = [run(f"wait-{number}", RunNow.WAITING) for number in range(20)]
    text = drawn([*waiting, run("busy", RunNow.RUNNING, 0.5)], room=3)
    assert "busy" in text
    assert "and 18 more" in text


def test_a_log_gets_a_line_for_each_run_that_begins_or_ends() -> None:
    looks = [look(JobState.RUNNING, 0.5) for _ in range(5)] + [look(JobState.SUCCEEDED)]
    states = [RunNow.WAITING, RunNow.RUNNING, RunNow.RUNNING, RunNow.SUCCEEDED, RunNow.SUCCEEDED, RunNow.SUCCEEDED]
    seen = iter([[run("oicr", state)] for state in states])
    out = io.StringIO()
    assert watch_study(looks, lambda: next(seen), Console(file=out, width=100)) is looks[-1]
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert [line for line in lines if line.startswith("oicr")] == ["oicr: running", "oicr: succeeded"]


BUSY = ApiProblem(Problem(title="The queue is not reachable", status=503, detail=""), retry_after_s=5)


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("error", [ServerUnreachable("restarting"), BUSY])
def test_a_service_that_is_away_for_a_moment_does_not_end_the_watching(terminal: bool, error: ClientError) -> None:
    def away() -> Sequence[RunRead]:
        raise error

    looks = [look(JobState.RUNNING, 0.5), look(JobState.SUCCEEDED)]
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    assert watch_study(looks, away, console) is looks[-1]


def test_no_look_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        watch_study([], tuple, Console(file=io.StringIO()))
