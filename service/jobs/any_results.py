"""Results of a job of any kind, as stored and as answered. Those of a training carry no `kind`."""

from collections.abc import Mapping

from pydantic import TypeAdapter

from service.jobs.data_results import CheckDataResults
from service.jobs.results import Judgement, TrainResults
from service.jobs.second_stage_results import SecondStageResults
from service.jobs.study_results import AblationResults, EvaluateResults, PredictResults, SweepResults

AnyResults = (
    TrainResults
    | AblationResults
    | SweepResults
    | EvaluateResults
    | PredictResults
    | SecondStageResults
    | CheckDataResults
)
_BY_KIND: dict[str, TypeAdapter[AnyResults]] = {
    "train": TypeAdapter(TrainResults),
    "ablation": TypeAdapter(AblationResults),
    "sweep": TypeAdapter(SweepResults),
    "evaluate": TypeAdapter(EvaluateResults),
    "predict": TypeAdapter(PredictResults),
    "second_stage": TypeAdapter(SecondStageResults),
    "check_data": TypeAdapter(CheckDataResults),
}


def training_in(results: AnyResults) -> TrainResults | None:
    """What the job's own training found, of a second stage its student's; None where it trained no model itself."""
    if isinstance(results, SecondStageResults):
        return results.student
    return results if isinstance(results, TrainResults) else None


def judgement_in(results: AnyResults) -> Judgement | None:
    """How the job's one model was judged; None where none was."""
    if isinstance(results, EvaluateResults):
        return results.judgement
    training = training_in(results)
    return None if training is None else training.trained


def parse_results(results: object) -> AnyResults:
    """Results by what they say of themselves.

    Raises:
        pydantic.ValidationError: they are none, or of another version.
    """
    kind = results.get("kind") if isinstance(results, Mapping) else None
    return _BY_KIND[kind if isinstance(kind, str) and kind in _BY_KIND else "train"].validate_python(results)
