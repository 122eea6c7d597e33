"""An ablation as tables that a paper or a page can take over: Markdown, LaTeX and CSV. Pure: results in, text out.

Shown values are per cent, mean ± sample standard deviation over seeds; differences are paired by seed. The CSV has
shares in [0, 1], unrounded.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from service.jobs.study_results import MEASURES, AblationResults, Row, Spread

TITLES = {
    "mean_ap": "mAP",
    "mean_classification_ap": "classification mAP",
    "mean_corloc": "CorLoc",
    "mean_iou": "mIoU",
}
MODES = ("correct", "inside", "contains", "overlap", "none")
"""figure 6's order"""

_MISSING = "–"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "Δ": r"$\Delta$",
}


@dataclass(frozen=True)
class Table:
    """Text in rows; the first column names what the row is about."""

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables_of(results: AblationResults) -> tuple[Table, ...]:
    """The table of the paper's table 2, and those of each class and of the error modes where there are numbers."""
    return tuple(
        table
        for table in (
            _measures_table(results),
            _class_table(results, "ap", "Average precision by class, in per cent.", lambda row: row.ap),
            _class_table(results, "corloc", "CorLoc by class, in per cent.", lambda row: row.corloc),
            _modes_table(results),
        )
        if len(table.header) > 1
    )


def markdown(results: AblationResults) -> str:
    """All tables, each under its caption."""
    parts = []
    for table in tables_of(results):
        lines = [_markdown_row(table.header), "|---" + "|--:" * (len(table.header) - 1) + "|"]
        lines += [_markdown_row(row) for row in table.rows]
        parts.append(table.caption + "\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def latex(results: AblationResults) -> str:
    r"""All tables as `table` environments with booktabs' rules; the text is escaped, and needs no further package.

    >>> latex_escaped("50 % of R&D_1")
    '50 \\% of R\\&D\\_1'
    """
    parts = []
    for table in tables_of(results):
        columns = "l" + "r" * (len(table.header) - 1)
        body = [_latex_row(table.header), r"\midrule", *(_latex_row(row) for row in table.rows)]
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_escaped(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines) + "\n")
    return "% needs \\usepackage{booktabs}\n" + "\n".join(parts)


def latex_escaped(text: str) -> str:
    """The text with every character that LaTeX takes for a command written as one that prints it."""
    return "".join(_LATEX.get(character, character) for character in text)


def table_csv(results: AblationResults) -> str:
    """A line for each variant: each number's mean, standard deviation and count, and the paired differences."""
    columns: dict[str, list[Spread | None]] = {}
    for measure in MEASURES:
        columns[measure] = [row.measures.get(measure) for row in results.rows]
        columns[f"{measure}_difference"] = [row.differences.get(measure) for row in results.rows]
    for name in _classes(results, lambda row: row.ap):
        columns[f"ap/{name}"] = [row.ap.get(name) for row in results.rows]
    for name in _classes(results, lambda row: row.corloc):
        columns[f"corloc/{name}"] = [row.corloc.get(name) for row in results.rows]
    for mode in _modes(results):
        columns[f"error_modes/{mode}"] = [row.error_modes.get(mode) for row in results.rows]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    names = [f"{column}_{part}" for column in columns for part in ("mean", "std", "count")]
    rows.writerow(["variant", "title", "succeeded", "failed", *names])
    for number, row in enumerate(results.rows):
        cells = [cell for spreads in columns.values() for cell in _csv_cells(spreads[number])]
        rows.writerow([row.variant, row.title, row.succeeded, row.failed, *cells])
    return text.getvalue()


def shown(spread: Spread | None, *, signed: bool = False) -> str:
    """In per cent with one decimal, as papers print it.

    >>> shown(Spread(mean=0.4125, std=0.012, count=3)), shown(Spread(mean=-0.05, std=None, count=1), signed=True)
    ('41.2 ± 1.2', '−5.0')
    """
    if spread is None:
        return _MISSING
    mean = 100 * spread.mean
    text = (f"{mean:+.1f}" if signed else f"{mean:.1f}").replace("-", "−")
    return text if spread.std is None else f"{text} ± {100 * spread.std:.1f}"


def _measures_table(results: AblationResults) -> Table:
    measures = [m for m in MEASURES if any(row.measures.get(m) is not None for row in results.rows)]
    seeds = len(results.seeds)
    base = next(row.title for row in results.rows if row.variant == results.base_variant)
    failed = any(row.failed for row in results.rows)
    header = ["method", *(part for m in measures for part in (TITLES[m], f"Δ {TITLES[m]}"))]
    rows = []
    for row in results.rows:
        cells = [row.title]
        for measure in measures:
            is_base = row.variant == results.base_variant
            difference = "" if is_base else shown(row.differences.get(measure), signed=True)
            cells += [shown(row.measures.get(measure)), difference]
        rows.append((*cells, *([f"{row.succeeded} of {row.succeeded + row.failed}"] if failed else [])))
    runs = ", one run each" if seeds == 1 else f", mean ± standard deviation over {seeds} seeds"
    caption = f"In per cent{runs}; Δ is the difference to {base}{'' if seeds == 1 else ', paired by seed'}."
    if missing := results.without_boxes_sentence():
        caption += f" There are {missing}."
    return Table("ablation", caption, (*header, *(["runs"] if failed else [])), tuple(rows))


def _class_table(
    results: AblationResults, name: str, caption: str, of: Callable[[Row], Mapping[str, Spread | None]]
) -> Table:
    classes = _classes(results, of)
    rows = [(row.title, *(shown(of(row).get(one)) for one in classes)) for row in results.rows]
    return Table(f"ablation-{name}", caption, ("method", *classes), tuple(rows))


def _modes_table(results: AblationResults) -> Table:
    modes = _modes(results)
    rows = [(row.title, *(shown(row.error_modes.get(mode)) for mode in modes)) for row in results.rows]
    caption = "How the best box of each class lies to the objects, in per cent of the training images (figure 6)."
    return Table("ablation-error-modes", caption, ("method", *modes), tuple(rows))


def _classes(results: AblationResults, of: Callable[[Row], Mapping[str, Spread | None]]) -> list[str]:
    return list(dict.fromkeys(name for row in results.rows for name in of(row)))


def _modes(results: AblationResults) -> list[str]:
    there = {mode for row in results.rows for mode in row.error_modes}
    return [mode for mode in MODES if mode in there]


def _csv_cells(spread: Spread | None) -> list[float | int | None]:
    return [None, None, 0] if spread is None else [spread.mean, spread.std, spread.count]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(latex_escaped(cell) for cell in cells) + r" \\"
