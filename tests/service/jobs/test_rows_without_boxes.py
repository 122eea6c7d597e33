from service.jobs.results import Judgement
from service.jobs.study_results import AblationResults, RunFound, RunState, ablation_rows
from tests.service.jobs.test_results import judgement, without_boxes


def compared(base: Judgement, other: Judgement) -> AblationResults:
    """Two variants with a run each."""
    runs = tuple(
        RunFound(name=name, variant=name, seed=0, overrides={}, state=RunState.SUCCEEDED, judgement=judged)
        for name, judged in (("base", base), ("other", other))
    )
    rows = ablation_rows({"base": "Base", "other": "Other"}, "base", runs)
    return AblationResults(runs=runs, base_variant="base", seeds=(0,), rows=rows)


def test_rows_without_boxes_are_compared_by_their_labels() -> None:
    results = compared(without_boxes(0.5), without_boxes(0.75))
    base, other = results.rows
    assert base.measures["mean_ap"] is base.measures["mean_corloc"] is None
    assert base.measures["mean_classification_ap"] is not None
    assert other.differences["mean_classification_ap"] is not None
    assert other.differences["mean_classification_ap"].mean == 0.25
    assert results.without_boxes_sentence() == "no boxes: AP and CorLoc cannot be counted"


def test_rows_with_boxes_leave_the_labels_out() -> None:
    judged = judgement(0.5, 0.25).model_copy(update={"mean_classification_ap": 0.9})
    results = compared(judged, judged)
    assert [row.measures["mean_classification_ap"] for row in results.rows] == [None, None]
    assert results.without_boxes_sentence() == ""
