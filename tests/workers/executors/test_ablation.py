import pytest

from service.jobs.runs import PlannedRun
from service.jobs.specs import AblationSpec
from service.jobs.states import FailureReason
from service.jobs.study_results import AblationResults, RunFound, RunState, ablation_rows
from tests.workers.executors.studies import Trainings
from tests.workers.executors.trained import ContextOf
from workers.attempt_folder import Succeeded
from workers.executors import ablation as executor
from workers.executors.ablation import ablation, compared_runs

BIG_ONLY = {"name": "big-only", "overrides": {"data.proposals.min_side_px": 5000}}
A_AND_B = [{"name": "a"}, {"name": "b", "overrides": {"objective.tau_0": 0.3}}]


def spec_of(*variants: object) -> AblationSpec:
    return AblationSpec.model_validate({"preset": "tiny", "variants": variants}).resolve()


def test_a_stage_that_runs_share_is_trained_with_the_data_of_a_run_that_can_use_them(
    context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch, executor, broken=lambda data: data.proposals.min_side_px > 0)
    ended = ablation(context_of(spec_of(BIG_ONLY, *A_AND_B)))
    assert isinstance(ended, Succeeded)
    assert [stage.data.proposals.min_side_px for stage in trainings.stages] == [0, 0]
    assert trainings.runs == ["a", "b"]
    runs = AblationResults.model_validate(ended.results).runs
    assert [run.failure and run.failure.reason for run in runs] == [FailureReason.BAD_INPUT, None, None]


def study(*failed: str, **fields: object) -> tuple[tuple[PlannedRun, ...], AblationResults]:
    spec = AblationSpec.model_validate({"preset": "tiny", "study": "table-2", "seeds": [0, 1], **fields}).resolve()
    assert spec.base_variant is not None
    runs = spec.runs()
    found = tuple(
        RunFound(
            name=run.name,
            variant=run.variant,
            seed=run.seed,
            overrides={},
            state=RunState.FAILED if run.name in failed else RunState.SUCCEEDED,
        )
        for run in runs
    )
    titles = {variant.name: variant.title for variant in spec.variants}
    rows = ablation_rows(titles, spec.base_variant, found)
    return runs, AblationResults(runs=found, base_variant=spec.base_variant, seeds=spec.seeds, rows=rows)


def compared(*failed: str, **fields: object) -> list[str] | None:
    pair = compared_runs(*study(*failed, **fields))
    return None if pair is None else [run.name for run in pair]


def test_the_base_row_is_compared_with_the_last_row_on_the_first_seed() -> None:
    assert compared() == ["oicr-seed0", "sdcn-seed0"]


def test_a_seed_in_which_one_of_them_failed_is_passed_over() -> None:
    assert compared("oicr-seed0") == ["oicr-seed1", "sdcn-seed1"]


def test_a_row_that_failed_whole_is_passed_over() -> None:
    assert compared("sdcn-seed0", "sdcn-seed1") == ["oicr-seed0", "seg-to-det-seed0"]


def test_the_base_row_may_be_the_last() -> None:
    assert compared(base_variant="sdcn") == ["sdcn-seed0", "seg-to-det-seed0"]


def test_without_a_base_row_there_is_no_comparison() -> None:
    assert compared("oicr-seed0", "oicr-seed1") is None


def test_rows_that_were_judged_on_other_images_are_not_compared() -> None:
    variants = [{"name": "few"}, {"name": "many", "overrides": {"data.source.test_images": 9}}]
    assert compared(study=None, variants=variants) is None


def test_a_single_row_has_nobody_to_be_compared_with() -> None:
    assert compared(study=None, variants=[{"name": "only"}]) is None
