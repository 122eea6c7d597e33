"""Results as tables: every measure of every class, row or run, in per cent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.jobs.data_results import CheckDataResults, Extent, SplitCounts
from service.jobs.results import Judgement, TrainResults
from service.jobs.second_stage_results import SecondStageResults
from service.jobs.study_results import AblationResults, EvaluateResults, Row, RunFound, RunState, Spread, SweepResults
from service.web.headlines import metric_name, metric_value
from service.web.text import DASH, counted, duration, percent, signed_percent

MEASURES = {
    "mean_ap": "mAP",
    "mean_classification_ap": "classification mAP",
    "mean_corloc": "CorLoc",
    "mean_iou": "mIoU",
}


@dataclass(frozen=True)
class Cell:
    text: str
    beside: str = ""
    """smaller: a deviation"""
    tone: str = ""
    """better, worse, best or bad: always said by the text too, or by a sign"""
    bar: float | None = None
    """drawn beside the text, as a share of the longest; the text says the same"""


@dataclass(frozen=True)
class TableRow:
    head: str
    cells: tuple[Cell, ...]
    url: str | None = None
    """where the head leads"""
    below: str = ""
    """smaller, below the head"""
    total: bool = False
    """sums up the rows above"""


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    """the first is the heads'"""
    rows: tuple[TableRow, ...]
    note: str = ""
    folded: bool = False
    """opened by whoever wants to know"""


def train_tables(results: TrainResults) -> tuple[Table, ...]:
    return judgement_tables(results.classes, results.judgements())


def second_stage_tables(results: SecondStageResults) -> tuple[Table, ...]:
    """The student beside its teacher, and how many boxes of each class it learnt from."""
    found = results.pseudo_labels
    rows = [TableRow(name, (Cell(str(count)),)) for name, count in found.boxes.items()]
    total = TableRow("all", (Cell(str(sum(found.boxes.values()))),), total=True)
    note = f"In {found.images} training images, {found.without_boxes} of them without a box."
    labels = Table("Pseudo labels", ("class", "boxes"), (*rows, total), note, folded=results.student is not None)
    judged = results.judgements()
    return (*(judgement_tables(results.classes, judged) if judged else ()), labels)


def evaluate_tables(results: EvaluateResults) -> tuple[Table, ...]:
    return judgement_tables(results.classes, {"trained": results.judgement})


def judgement_tables(classes: Sequence[str], judged: Mapping[str, Judgement]) -> tuple[Table, ...]:
    """By class: AP and CorLoc (what boxes allow) of `trained` beside those of the baselines; then COCO's figures where
    they were asked for, and the error modes of `trained`.
    """
    trained = judged["trained"]
    measures = trained.shown_measures()
    columns = ["class"]
    for measure in measures.values():
        columns += [measure if name == "trained" else f"{measure}, {name}" for name in judged]
    with_iou = trained.iou is not None
    if with_iou:
        columns.append("IoU")

    def row(label: str) -> TableRow:
        cells = [Cell(percent(j.of_class(measure, label))) for measure in measures for j in judged.values()]
        cells += [Cell(percent((trained.iou or {}).get(label)))] if with_iou else []
        return TableRow(label, tuple(cells))

    means = [Cell(percent(j.mean_of(measure))) for measure in measures for j in judged.values()]
    means += [Cell(percent(trained.mean_iou))] if with_iou else []
    test, train = f"{trained.num_test_images} test images", f"{trained.num_train_images} training images"
    note = f"{trained.where(test, train, unit='in per cent')}. {trained.told_of_trivial_boxes()}".strip()
    by_class = Table("By class", tuple(columns), (*map(row, classes), TableRow("mean", tuple(means), total=True)), note)
    return (by_class, *_coco_tables(judged), *_mode_tables(classes, trained))


def _coco_tables(judged: Mapping[str, Judgement]) -> Iterable[Table]:
    figures = {name: judgement.coco.by_title() for name, judgement in judged.items() if judgement.coco is not None}
    if not figures:
        return
    columns = ("figure", *("COCO" if name == "trained" else f"COCO, {name}" for name in figures))
    rows = [
        TableRow(title, tuple(Cell(percent(values[title])) for values in figures.values()))
        for title in next(iter(figures.values()))
    ]
    yield Table("COCO's figures", columns, tuple(rows), "On the test images, by COCO's own tools, in per cent.")


def _mode_tables(classes: Sequence[str], trained: Judgement) -> Iterable[Table]:
    means = trained.mean_error_modes
    if not means:
        return
    of = trained.error_modes or {}
    rows = [
        TableRow(label, tuple(Cell(percent(shares.get(mode))) for mode in means))
        for label in classes
        if (shares := of.get(label)) is not None
    ]
    total = TableRow("mean", tuple(Cell(percent(share)) for share in means.values()), total=True)
    note = "How the best box of each training image lies to its object, in per cent of the images."
    yield Table("Error modes", ("class", *means), (*rows, total), note, folded=True)


def ablation_tables(results: AblationResults) -> tuple[Table, ...]:
    """The table that compares the rows, then AP and CorLoc by class, and error modes."""
    measures = [name for name in MEASURES if any(row.measures.get(name) for row in results.rows)]
    best = {
        name: max((s.mean for row in results.rows if (s := row.measures.get(name))), default=None) for name in measures
    }
    base = next((row.title for row in results.rows if row.variant == results.base_variant), results.base_variant)
    several = len(results.rows) > 1
    columns = ["variant", *(MEASURES[name] for name in measures)]
    columns += [f"Δ {MEASURES[name]}" for name in measures] if several else []
    rows = []
    for row in results.rows:
        cells = [_spread(row.measures.get(name), best[name] if several else None) for name in measures]
        cells += [_difference(row, name) for name in measures] if several else []
        failed = f", {row.failed} failed" if row.failed else ""
        rows.append(TableRow(row.title, tuple(cells), below=f"{counted(row.succeeded, 'seed')}{failed}"))
    note = "Mean ± sample standard deviation over seeds, in per cent."
    if several:
        note += f" Δ: paired difference to “{base}” with the same seed, in percentage points."
    if missing := results.without_boxes_sentence():
        note += f" There are {missing}."
    tables = [Table("Comparison", tuple(columns), tuple(rows), note)]
    for title, part in (("AP by class", "ap"), ("CorLoc by class", "corloc")):
        tables += _by_class(results.rows, title, part)
    tables += _by_class(results.rows, "Error modes", "error_modes")
    return tuple(tables)


def _by_class(rows: Sequence[Row], title: str, part: str) -> list[Table]:
    labels = list(dict.fromkeys(label for row in rows for label in getattr(row, part)))
    if not labels:
        return []
    body = tuple(TableRow(row.title, tuple(_spread(getattr(row, part).get(label)) for label in labels)) for row in rows)
    return [Table(title, ("variant", *labels), body, "In per cent.", folded=True)]


def _spread(spread: Spread | None, best: float | None = None) -> Cell:
    if spread is None:
        return Cell(DASH)
    beside = "" if spread.std is None else f"± {percent(spread.std)}"
    return Cell(percent(spread.mean), beside, "best" if spread.mean == best else "")


def _difference(row: Row, measure: str) -> Cell:
    spread = row.differences.get(measure)
    if spread is None:
        return Cell(DASH)
    tone = "better" if spread.mean > 0 else "worse" if spread.mean < 0 else ""
    return Cell(signed_percent(spread.mean), "" if spread.std is None else f"± {percent(spread.std)}", tone)


def sweep_tables(results: SweepResults, job_id: str) -> tuple[Table, ...]:
    """Every trial, best first; the fields that were searched are columns."""
    fields = list(dict.fromkeys(path for run in results.runs for path in run.overrides))
    ranked = results.best_first()
    rows = [
        TableRow(
            run.name,
            (
                Cell(metric_value(results.metric, run.value), tone="best" if run.name == results.best else ""),
                *(Cell(_value(run.overrides.get(path, DASH))) for path in fields),
                Cell(f"{run.global_step}"),
                Cell(duration(run.train_seconds)),
                _ended(run),
            ),
            url=f"/jobs/{job_id}/runs/{run.name}",
        )
        for run in ranked
    ]
    columns = (
        "trial",
        metric_name(results.metric),
        *(path.rpartition(".")[2] for path in fields),
        "steps",
        "time",
        "end",
    )
    where = "lowest" if results.goal == "min" else "highest"
    note = f"The {where} {metric_name(results.metric)} first"
    if any(run.state is not RunState.SUCCEEDED for run in results.runs):
        note += "; trials that did not come to their end below those that did"
    if results.best is not None and results.best != ranked[0].name:  # of several seeds one may have been lucky
        note += "; in bold the best run of the trial whose mean over seeds is the best"
    return (Table("Trials", columns, tuple(rows), f"{note}."),)


def _ended(run: RunFound) -> Cell:
    match run.state:
        case RunState.SUCCEEDED:
            return Cell("finished")
        case RunState.STOPPED_EARLY:
            return Cell("stopped early")
        case RunState.FAILED:
            return Cell(f"failed: {run.failure.reason}" if run.failure else "failed", tone="bad")


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def count_tables(results: CheckDataResults) -> tuple[Table, ...]:
    """What each split has of each class; those beyond the first two, which the source does not name, folded."""
    return tuple(_split_table(split, folded=place >= 2) for place, split in enumerate(results.splits))


def _split_table(split: SplitCounts, *, folded: bool) -> Table:
    longest = max((counts.images for counts in split.classes.values()), default=0)
    has_boxes = split.objects is not None
    rows = []
    for label, counts in split.classes.items():
        cells = [Cell(str(counts.images), bar=counts.images / longest if longest else 0.0)]
        if has_boxes:
            cells += [Cell(_count(counts.objects)), Cell(_count(counts.difficult))]
            cells.append(Cell(_mean(counts.objects_per_image)))
        rows.append(TableRow(label, tuple(cells)))
    total = [Cell(str(split.images))]
    if has_boxes:
        total += [Cell(_count(split.objects)), Cell(_count(split.difficult)), Cell(_mean(split.objects_per_image))]
    rows.append(TableRow("all", tuple(total), total=True))
    columns = ("class", "images", *(("objects", "difficult", "objects an image") if has_boxes else ()))
    return Table(f"Split {split.name}", columns, tuple(rows), _split_note(split), folded)


def _split_note(split: SplitCounts) -> str:
    said = [counted(split.images, "image"), f"{split.without_label} without label", f"{split.masks} with a mask"]
    if split.objects is None:
        said.append("no boxes")
    if split.width_px is not None and split.height_px is not None:
        said.append(f"{_extent(split.width_px)} px wide, {_extent(split.height_px)} px high")
    return f"Split {split.name}: {'; '.join(said)}."


def _extent(extent: Extent) -> str:
    same = extent.smallest == extent.largest
    return str(extent.largest) if same else f"{extent.smallest} to {extent.largest} (median {extent.median:g})"


def _mean(mean: float | None) -> str:
    return DASH if mean is None else f"{mean:.2f}"


def _count(count: int | None) -> str:
    return DASH if count is None else str(count)
