"""What a job of any kind found, for a terminal. Shares are in percent, ± is the standard deviation over seeds."""

from collections.abc import Mapping
from typing import assert_never

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.client.dataset_tables import counts_view
from service.client.tables import coco_table, judgements_table, percent, results_table
from service.jobs.any_results import AnyResults
from service.jobs.data_results import CheckDataResults
from service.jobs.results import Judgement, TrainResults
from service.jobs.second_stage_results import SecondStageResults
from service.jobs.study_results import (
    AblationResults,
    EvaluateResults,
    PredictResults,
    Spread,
    SweepResults,
)

SHOWN_TRIALS = 20
_MEASURES = {
    "mean_ap": "mAP",
    "mean_classification_ap": "classification mAP",
    "mean_corloc": "CorLoc",
    "mean_iou": "mIoU",
}


def results_view(results: AnyResults) -> RenderableType:
    """Results of any kind."""
    match results:
        case TrainResults():
            return _with_coco(results_table(results), results.judgements())
        case AblationResults():
            return ablation_table(results)
        case SweepResults():
            return sweep_view(results)
        case EvaluateResults():
            return _with_coco(judgement_table(results), {"trained": results.judgement})
        case SecondStageResults():
            return second_stage_view(results)
        case PredictResults():
            return Text(prediction_sentence(results))
        case CheckDataResults():
            return counts_view(results)
        case _:
            assert_never(results)


def _with_coco(table: Table, judged: Mapping[str, Judgement]) -> RenderableType:
    coco = coco_table(judged)
    return table if coco is None else Group(table, coco)


def ablation_table(results: AblationResults) -> Table:
    """A row each variant: its measures, and how far it is from the base row, seed by seed."""
    said = "seed" if len(results.seeds) == 1 else f"{len(results.seeds)} seeds"
    missing = f"; {sentence}" if (sentence := results.without_boxes_sentence()) else ""
    table = Table(title=f"in percent, {said} {', '.join(map(str, results.seeds))}{missing}", title_justify="left")
    table.add_column("variant")
    shown = [name for name in _MEASURES if any(row.measures.get(name) for row in results.rows)]
    for name in shown:
        table.add_column(_MEASURES[name], justify="right", style="bold")
        table.add_column(f"- {results.base_variant}", justify="right", style="dim")
    table.add_column("runs", justify="right")
    for row in results.rows:
        cells = [
            cell
            for name in shown
            for cell in (_spread(row.measures.get(name)), _spread(row.differences.get(name), signed=True))
        ]
        failed = f", {row.failed} failed" if row.failed else ""
        table.add_row(row.title, *cells, f"{row.succeeded}{failed}")
    return table


def sweep_view(results: SweepResults) -> RenderableType:
    """The best trials, and the curve of each field where there are curves."""
    share = results.metric.startswith("eval/")
    best_first = results.best_first()
    table = Table(title=f"{results.metric}{', in percent' if share else ''}, best first", title_justify="left")
    for column in ("run", "state"):
        table.add_column(column)
    table.add_column("value", justify="right", style="bold")
    for run in best_first[:SHOWN_TRIALS]:
        style = "green" if run.name == results.best else None
        table.add_row(run.name, run.state.replace("_", " "), _value(run.value, share=share), style=style)
    if len(best_first) > SHOWN_TRIALS:
        table.add_row(f"and {len(best_first) - SHOWN_TRIALS} more", "", "")
    return Group(table, *(_curve(path, results, share=share) for path in results.curves))


def _curve(path: str, results: SweepResults, *, share: bool) -> Table:
    table = Table(title=f"{results.metric} against {path}", title_justify="left")
    table.add_column(path.rpartition(".")[2], justify="right")
    table.add_column(results.metric, justify="right", style="bold")
    for point in results.curves[path]:
        measure = point.measure
        shown = _spread(measure) if share else ("–" if measure is None else f"{measure.mean:.4g}")
        table.add_row(str(point.value), shown)
    return table


def judgement_table(results: EvaluateResults) -> Table:
    """AP, CorLoc (what boxes allow) and, where there are masks, IoU of each class."""
    judged = results.judgement
    measures = judged.shown_measures() | ({"iou": "IoU"} if judged.iou else {})
    title = judged.where(results.ap_split, results.corloc_split, unit="in percent")
    if results.checkpoint is not None:
        title += f"; checkpoint of step {results.checkpoint}"
    caption = judged.told_of_trivial_boxes() or None
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("class")
    for title in measures.values():
        table.add_column(title, justify="right", style="bold")
    for label in results.classes:
        table.add_row(label, *(percent(judged.of_class(measure, label)) for measure in measures))
    table.add_section()
    table.add_row("mean", *(percent(judged.mean_of(measure)) for measure in measures), style="bold")
    return table


def second_stage_view(results: SecondStageResults) -> RenderableType:
    """How many boxes were learnt from, and the student beside its teacher."""
    found = results.pseudo_labels
    sentence = Text(
        f"{sum(found.boxes.values())} pseudo labels by {results.model} in {found.images} images,"
        f" {found.without_boxes} of them without a box"
    )
    if results.student is None:
        return sentence
    judged = results.judgements()
    return Group(sentence, _with_coco(judgements_table(results.classes, judged), judged))


def prediction_sentence(results: PredictResults) -> str:
    """How many boxes in how many images, and how long an image took."""
    seconds = "" if results.seconds_per_image is None else f", {results.seconds_per_image:.3f} s an image (median)"
    broken = (
        f"; {len(results.broken)} files could not be read: {', '.join(results.broken[:5])}" if results.broken else ""
    )
    return f"{results.boxes} boxes in {results.images} images{seconds}{broken}"


def _spread(spread: Spread | None, *, signed: bool = False) -> str:
    if spread is None:
        return "–"
    mean = f"{100 * spread.mean:{'+' if signed else ''}.1f}"
    return mean if spread.std is None else f"{mean} ± {100 * spread.std:.1f}"


def _value(value: float | None, *, share: bool) -> str:
    if value is None:
        return "–"
    return percent(value) if share else f"{value:.4g}"
