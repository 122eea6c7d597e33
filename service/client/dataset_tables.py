"""Data sets for a terminal: a line each, and what is in one by class and split."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.jobs.answers import DatasetSummary
from service.jobs.data_results import CheckDataResults, Extent, SplitCounts
from service.jobs.states import DatasetState

COLORS = {
    DatasetState.READY: "green",
    DatasetState.REFUSED: "red",
    DatasetState.CHECKING: "cyan",
    DatasetState.UNCHECKED: "yellow",
}
SHOWN_PROBLEMS = 10
NONE = "–"


def datasets_table(datasets: Iterable[DatasetSummary]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("data set", "kind", "state", "classes", "images"):
        table.add_column(column)
    for one in datasets:
        images = ", ".join(f"{split} {count}" for split, count in (one.images or {}).items())
        state = Text(one.state, style=COLORS[one.state])
        if one.progress is not None:
            state.append(f" {one.progress.fraction:.0%}")
        if one.num_problems:
            state.append(f", {one.num_problems} problem{'' if one.num_problems == 1 else 's'}")
        classes = "" if one.num_classes is None else str(one.num_classes)
        table.add_row(one.name, str(one.source.get("kind", "")), state, classes, images)
    return table


def counts_view(results: CheckDataResults) -> RenderableType:
    """Images and objects of each class in each split, the sizes of images, and what is wrong."""
    said = [Text(f"cannot be used: {problem}", style="red") for problem in results.problems[:SHOWN_PROBLEMS]]
    if len(results.problems) > SHOWN_PROBLEMS:
        said.append(Text(f"and {len(results.problems) - SHOWN_PROBLEMS} more problems; --json has all", style="red"))
    said += [Text(f"note: {note}", style="yellow") for note in results.notes[:SHOWN_PROBLEMS]]
    if not results.splits:
        return Group(*said)
    sizes = [Text(sentence) for split in results.splits if (sentence := _sizes(split)) is not None]
    return Group(_by_class(results), *sizes, *said)


def _by_class(results: CheckDataResults) -> Table:
    table = Table(title="images with the class, objects (difficult ones)", title_justify="left")
    table.add_column("class")
    for split in results.splits:
        table.add_column(split.name, justify="right", style="bold")
        table.add_column("objects", justify="right")
    for label in results.classes:
        cells: list[str] = []
        for split in results.splits:
            counts = split.classes[label]
            cells += [str(counts.images), _objects(counts.objects, counts.difficult)]
        table.add_row(label, *cells)
    table.add_section()
    totals = [cell for s in results.splits for cell in (str(s.images), _objects(s.objects, s.difficult))]
    table.add_row("all", *totals, style="bold")
    table.add_row("without label", *(cell for split in results.splits for cell in (str(split.without_label), "")))
    table.add_row("with a mask", *(cell for split in results.splits for cell in (str(split.masks), "")))
    return table


def _objects(objects: int | None, difficult: int | None) -> str:
    """Nothing is known of objects where nobody drew boxes."""
    if objects is None:
        return NONE
    return f"{objects} ({difficult})" if difficult else str(objects)


def _sizes(split: SplitCounts) -> str | None:
    if split.width_px is None or split.height_px is None:
        return None
    return f"{split.name}: images {_extent(split.width_px)} px wide, {_extent(split.height_px)} px high"


def _extent(extent: Extent) -> str:
    return f"{extent.smallest} to {extent.largest} (median {extent.median:g})"
