import errno
from dataclasses import replace

import pytest

from service.jobs.budgets import Spent
from service.jobs.runs import PlannedRun
from service.jobs.specs import AblationSpec
from service.jobs.states import FailureReason
from service.jobs.study_results import AblationResults, RunFound, RunState, ablation_rows
from tests.workers.executors.studies import LOST, Trainings
from tests.workers.executors.trained import ContextOf
from workers.attempt_folder import Failed, Succeeded
from workers.executors import ablation as executor
from workers.executors.ablation import ablation, compared_runs
from workers.executors.base import JobContext

BIG_ONLY = {"name": "big-only", "overrides": {"data.proposals.min_side_px": 5000}}
A_AND_B = [{"name": "a"}, {"name": "b", "overrides": {"objective.tau_0": 0.3}}]


def spec_of(*variants: object) -> AblationSpec:
    return AblationSpec.model_validate({"preset": "tiny", "variants": variants}).resolve()


def attempt(context: JobContext, number: int) -> JobContext:
    folder = context.run.attempt(number)
    folder.path.mkdir(exist_ok=True)
    return replace(context, order=context.order.model_copy(update={"attempt": number}), folder=folder)


def last_attempt(context: JobContext, number: int) -> JobContext:
    """One after which none follows when it is lost."""
    again = attempt(context, number)
    spent = Spent(infrastructure=context.order.spec.max_lost_attempts - 1)
    return replace(again, order=again.order.model_copy(update={"spent": spent}))


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


def test_a_run_that_fails_for_a_passing_reason_is_tried_again_in_another_attempt_and_the_others_are_kept(
    context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch, executor)
    context = context_of(spec_of(*A_AND_B))
    trainings.failing = {"b": LOST}
    first = ablation(context)
    assert isinstance(first, Failed)
    assert first.reason is FailureReason.LOST_WORKER
    assert first.message == "1 of 2 runs are to be tried again; b: the node is gone"
    trainings.failing = {}
    trainings.runs.clear()
    assert isinstance(ablation(attempt(context, 2)), Succeeded)
    assert trainings.runs == ["b"]


def test_the_last_attempt_ends_with_what_there_is(context_of: ContextOf, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = Trainings(monkeypatch, executor)
    trainings.failing = {"b": LOST}
    context = context_of(spec_of(*A_AND_B))
    assert isinstance(ablation(last_attempt(context, 2)), Succeeded)


def test_a_picture_that_cannot_be_drawn_costs_no_numbers(
    context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    Trainings(monkeypatch, executor)
    monkeypatch.setattr(executor, "open_annotated_set", lambda *_, **__: None)
    monkeypatch.setattr(executor, "comparison_of", full_disk)
    context = context_of(spec_of(*A_AND_B))
    assert isinstance(ablation(context), Succeeded)
    assert "no comparison is drawn: OSError" in context.folder.events.read_text()


def test_a_study_that_has_ended_keeps_no_stages_no_scratch_files_and_checkpoints_where_a_run_has_not_ended(
    context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch, executor)
    trainings.failing = {"b": LOST}
    context = context_of(spec_of(*A_AND_B))
    job = context.run.path
    (job / "stages").mkdir()
    (job / "runs" / ".shared-apart-0" / "checkpoints").mkdir(parents=True)
    context.folder.work.mkdir()
    ablation(context)
    assert (job / "stages").exists(), "another attempt follows"
    ablation(last_attempt(context, 3))
    left = sorted(
        str(path.relative_to(job)) for path in job.rglob("*") if path.name in ("stages", "work", "checkpoints")
    )
    assert left == ["runs/b/checkpoints"]


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
