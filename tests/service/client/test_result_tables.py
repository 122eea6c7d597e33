import io

from rich.console import Console, RenderableType

from service.client.result_tables import results_view, sweep_view
from service.jobs.results import TrainResults
from service.jobs.second_stage_results import PseudoLabelsFound, SecondStageResults
from service.jobs.study_results import EvaluateResults, RunFound, RunState, SweepResults
from tests.service.jobs.test_results import COCO, judgement, without_boxes


def shown(view: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(view)
    return out.getvalue()


def test_a_trial_that_was_stopped_early_stands_below_those_that_came_to_their_end() -> None:
    ended = {"stopped": RunState.STOPPED_EARLY, "second": RunState.SUCCEEDED, "best": RunState.SUCCEEDED}
    values = {"stopped": 0.75, "second": 0.6, "best": 0.7}
    failed = RunFound(name="failed", variant="failed", seed=0, overrides={}, state=RunState.FAILED)
    runs = [
        RunFound(name=name, variant=name, seed=0, overrides={}, state=state, value=values[name])
        for name, state in ended.items()
    ]
    results = SweepResults(runs=(failed, *runs), metric="eval/mean_ap", goal="max", best="best")
    rows = [line.split()[1] for line in shown(sweep_view(results)).splitlines() if line.startswith("│")]
    assert rows == ["best", "second", "stopped", "failed"]


def test_coco_s_figures_are_shown_where_there_are_some() -> None:
    with_coco = judgement(0.5, 0.6).model_copy(update={"coco": COCO})
    splits = {"ap_split": "test", "corloc_split": "train"}
    for results in (
        TrainResults(classes=("car", "cat"), trained=with_coco, chance=with_coco),
        EvaluateResults(model="abc", classes=("car", "cat"), judgement=with_coco, **splits),
    ):
        lines = shown(results_view(results)).splitlines()
        (ap50,) = [line.split("│")[2:-1] for line in lines if line.startswith("│ AP50 ")]
        (large,) = [line.split("│")[2:-1] for line in lines if line.startswith("│ AP large ")]
        assert {cell.strip() for cell in ap50} == {"1.0"}
        assert {cell.strip() for cell in large} == {"–"}
    assert "AP50" not in shown(results_view(TrainResults(classes=("car", "cat"), trained=judgement(0.5, 0.6))))


def test_a_second_stage_stands_beside_its_teacher() -> None:
    labels = PseudoLabelsFound(model_sha256="0" * 64, images=9, without_boxes=1, boxes={"car": 5, "cat": 4})
    student = TrainResults(classes=("car", "cat"), trained=judgement(0.5, 0.6))
    found = SecondStageResults(
        model="abc", classes=("car", "cat"), pseudo_labels=labels, teacher=judgement(0.4, 0.7), student=student
    )
    page = shown(results_view(found))
    assert "9 pseudo labels by abc in 9 images, 1 of them without a box" in page
    assert "teacher" in page
    assert "50.0" in page
    assert "teacher" not in shown(results_view(found.model_copy(update={"student": None})))


def test_without_boxes_the_tables_say_so_and_show_what_labels_allow() -> None:
    bare = without_boxes()
    found = EvaluateResults(model="abc", classes=("car", "cat"), judgement=bare, ap_split="test", corloc_split="train")
    for results in (TrainResults(classes=("car", "cat"), trained=bare, chance=bare), found):
        text = " ".join(shown(results_view(results)).split())
        assert "no boxes: AP and CorLoc cannot be counted" in text
        assert "classification AP" in text
        assert "75.0" in text
        assert "│ CorLoc" not in text
