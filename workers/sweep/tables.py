"""A sweep's trials as files: trials.json, trials.csv and table.md."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from service.jobs.study_results import SweepResults
from workers.attempt_folder import write_atomically


def write_tables(results: SweepResults, fields: tuple[str, ...], artifacts: Path) -> Mapping[str, Path]:
    """Write them; name -> path.

    Args:
        results: what the sweep found.
        fields: the searched fields, which become columns.
        artifacts: an existing folder.
    """
    texts = {
        "trials.json": results.model_dump_json(indent=2),
        "trials.csv": _csv(results, fields),
        "table.md": _markdown(results, fields),
    }
    for name, text in texts.items():
        write_atomically(artifacts / name, text)
    return {name: artifacts / name for name in texts}


def _csv(results: SweepResults, fields: tuple[str, ...]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["run", "seed", *fields, "state", results.metric, "global_step", "train_seconds"])
    for run in results.runs:
        searched = [_text(run.overrides[path]) if path in run.overrides else "" for path in fields]
        value = "" if run.value is None else run.value
        rows.writerow([run.name, run.seed, *searched, run.state, value, run.global_step, run.train_seconds])
    return text.getvalue()


def _markdown(results: SweepResults, fields: tuple[str, ...]) -> str:
    """The trials from best to worst, those without a value last."""
    columns = ["run", "seed", *fields, "state", results.metric, "steps"]
    lines = [_row(columns), _row(["---"] * len(columns))]
    for run in results.best_first():
        searched = [_text(run.overrides[path]) if path in run.overrides else "" for path in fields]
        value = "" if run.value is None else f"{run.value:.4f}"
        name = f"**{run.name}**" if run.name == results.best else run.name
        lines.append(_row([name, str(run.seed), *searched, run.state.replace("_", " "), value, str(run.global_step)]))
    for path, points in results.curves.items():
        lines += ["", f"{results.metric} against {path}", "", _row(["value", "mean", "std", "runs"])]
        lines.append(_row(["---"] * 4))
        for point in points:
            measure = point.measure
            std = "" if measure is None or measure.std is None else f"{measure.std:.4f}"
            mean = "" if measure is None else f"{measure.mean:.4f}"
            lines.append(_row([_text(point.value), mean, std, str(0 if measure is None else measure.count)]))
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _text(value: JsonValue) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)
