"""What a training found, as files among its artifacts."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from service.jobs.results import Judgement, TrainResults
from workers.attempt_folder import write_atomically
from workers.spool import EventSpool, FileEvent


def keep_text(spool: EventSpool, path: Path, text: str) -> None:
    """Write an artifact and tell of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    spool.append(FileEvent(name=path.name, path=path))


def keep_results(spool: EventSpool, artifacts: Path, results: TrainResults) -> None:
    """Write results.json and results.csv and tell of them."""
    keep_text(spool, artifacts / "results.json", results.model_dump_json(indent=2))
    table = artifacts / "results.csv"
    write_table(results.classes, results.judgements(), table)
    spool.append(FileEvent(name=table.name, path=table))


def write_table(classes: Sequence[str], judged: Mapping[str, Judgement], path: Path) -> None:
    """AP, CorLoc and classification AP per class and their means as CSV: of `trained`, beside whatever else was
    judged.
    """
    columns = [("" if name == "trained" else f"{name}_", judgement) for name, judgement in judged.items()]
    measures = ("ap", "corloc", "classification_ap")
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["class", *(f"{prefix}{measure}" for prefix, _ in columns for measure in measures)])
        for name in classes:
            rows.writerow([name, *(j.of_class(measure, name) for _, j in columns for measure in measures)])
        rows.writerow(["mean", *(j.mean_of(measure) for _, j in columns for measure in measures)])
