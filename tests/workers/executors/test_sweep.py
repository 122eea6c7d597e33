import pytest

from service.jobs.specs import SweepSpec
from tests.workers.executors.studies import Trainings
from tests.workers.executors.trained import ContextOf
from workers.attempt_folder import Succeeded
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
