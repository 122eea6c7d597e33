from dataclasses import replace

import pytest

from service.jobs.specs import SweepSpec
from service.jobs.states import FailureReason
from tests.workers.executors.studies import LOST, Trainings
from tests.workers.executors.trained import ContextOf
from workers.attempt_folder import Failed, Succeeded
from workers.executors import sweep as executor
from workers.executors.sweep import sweep

SIDE = "data.proposals.min_side_px"


def spec_of(**fields: object) -> SweepSpec:
    space = {"objective.tau_0": {"kind": "choice", "values": [0.3, 0.5]}}
    return SweepSpec.model_validate({"preset": "tiny", "space": space, **fields}).resolve()


@pytest.mark.parametrize(
    "fields",
    [
        {"space": {SIDE: {"kind": "choice", "values": [5000, 0, 2]}}},
        {
            "space": {SIDE: {"kind": "choice", "values": [5000, 2, 0]}},
            "search": {"kind": "random", "num_trials": 3},
        },
    ],
    ids=["known", "drawn"],
)
def test_a_stage_that_trials_share_is_trained_with_the_data_of_one_that_can_use_them(
    context_of: ContextOf, monkeypatch: pytest.MonkeyPatch, fields: dict[str, object]
) -> None:
    trainings = Trainings(monkeypatch, executor, broken=lambda data: data.proposals.min_side_px > 2)
    assert isinstance(sweep(context_of(spec_of(**fields))), Succeeded)
    assert [stage.data.proposals.min_side_px for stage in trainings.stages] == [0]


def test_a_trial_that_fails_for_a_passing_reason_is_tried_again_in_another_attempt_and_the_others_are_kept(
    context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch, executor)
    context = context_of(spec_of())
    kept, lost = "trial-000-tau_0-0.3", "trial-001-tau_0-0.5"
    trainings.failing = {lost: LOST}
    first = sweep(context)
    assert isinstance(first, Failed)
    assert first.reason is FailureReason.LOST_WORKER
    assert kept in trainings.runs
    trainings.failing = {}
    trainings.runs.clear()
    second = context.run.attempt(2)
    second.path.mkdir()
    again = replace(context, order=context.order.model_copy(update={"attempt": 2}), folder=second)
    (context.run.path / "stages").mkdir()
    assert isinstance(sweep(again), Succeeded)
    assert trainings.runs == [lost]
    assert not (context.run.path / "stages").exists()
