"""One training: its data made ready in this process, then the trainer on Ray, then what it found written down."""

import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from sdcn_core.config.data import DataConfig
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set, prepare_source
from sdcn_core.data.proposals import compute_proposals
from sdcn_core.errors import DatasetError
from sdcn_core.training.plan import DATA_SHARE, check_world_size
from sdcn_core.training.progress import Stage
from service.jobs.results import TrainResults
from workers.attempt_folder import RunFolder, Succeeded, write_atomically
from workers.errors import AttemptStopped
from workers.executors.base import JobContext
from workers.ray_runtime import fit as ray_fit
from workers.spool import FileEvent, NoteEvent, ProgressEvent

PROGRESS_INTERVAL_S = 0.5


def train(context: JobContext) -> Succeeded:
    """See JobExecutor."""
    order = context.order
    experiment = order.spec.resolved_experiment
    run = RunFolder(order.home, order.job_id)
    run.artifacts.mkdir(parents=True, exist_ok=True)
    _keep(context, run.artifacts / "config.json", experiment.model_dump_json(indent=2))
    check_world_size(experiment, order.spec.resources.num_workers)

    prepare_data(context, experiment.data)
    context.check_stop()
    context.spool.append(NoteEvent(text="starting the training processes"))
    found = ray_fit.fit(order, context.folder)
    if found is None:
        raise AttemptStopped("the training was asked to stop; its checkpoint is kept")

    results = TrainResults.model_validate(found)
    _keep(context, run.artifacts / "results.json", results.model_dump_json(indent=2))
    table = run.artifacts / "results.csv"
    write_table(results, table)
    context.spool.append(FileEvent(name=table.name, path=table))
    return Succeeded(
        results=json.loads(results.model_dump_json()),
        artifacts={path.name: path for path in sorted(run.artifacts.iterdir()) if not path.name.startswith(".")},
    )


def prepare_data(context: JobContext, data: DataConfig) -> None:
    """Stage `data`: the source made or checked, proposals of both splits computed on all CPUs, all of it cached.

    Raises:
        DatasetError: the data set is missing, broken or useless; the message names the file.
        AttemptStopped: it was asked to end; what is cached by then stays.
    """
    order = context.order
    roots = DataRoots(data=order.data_root, cache=order.home / "cache")
    processes = len(os.sched_getaffinity(0))
    report = DataProgress(context, parts=3)

    prepare_source(data.source, roots, progress=report.part("making the data set ready"))
    train_set = open_train_set(data.source, roots, labels_from_difficult=data.labels_from_difficult)
    test_set = open_annotated_set(data.source, roots, role="test")
    if all(annotation.difficult.all() for annotation in test_set.annotations):
        raise DatasetError(
            f"data.source.test_split {data.source.test_split!r} has no object that counts, so nothing could be judged:"
            " name a split with objects that are not marked difficult"
        )
    for name, images in {"training": train_set, "test": test_set.image_set}.items():
        progress = report.part(f"computing proposals of the {name} images")
        compute_proposals(images, data.proposals, cache=roots.cache, processes=processes, progress=progress)


class DataProgress:
    """Stage `data` in parts of equal weight, each told by a callable (done, total)."""

    def __init__(self, context: JobContext, *, parts: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._parts = parts
        self._begun = 0
        self._monotonic = monotonic
        self._told_at: float | None = None

    def part(self, name: str) -> Callable[[int, int], None]:
        """Begin the next part."""
        before = self._begun
        self._begun += 1
        self._context.spool.append(NoteEvent(text=name))

        def tell(done: int, total: int) -> None:
            self._context.check_stop()
            now = self._monotonic()
            if done < total and self._told_at is not None and now - self._told_at < PROGRESS_INTERVAL_S:
                return
            self._told_at = now
            within = done / total if total else 1.0
            fraction = DATA_SHARE * (before + within) / self._parts
            self._context.spool.append(
                ProgressEvent(stage=Stage.DATA.value, step=done, stage_steps=total, fraction=fraction)
            )

        return tell


def write_table(results: TrainResults, path: Path) -> None:
    """AP and CorLoc per class and their means as CSV, beside those of the baselines."""
    judged = {"": results.trained, "untrained_": results.untrained, "chance_": results.chance}
    columns = [(prefix, judgement) for prefix, judgement in judged.items() if judgement is not None]
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["class", *(f"{prefix}{measure}" for prefix, _ in columns for measure in ("ap", "corloc"))])
        for name in results.classes:
            rows.writerow([name, *(value for _, j in columns for value in (j.ap.get(name), j.corloc.get(name)))])
        rows.writerow(["mean", *(value for _, j in columns for value in (j.mean_ap, j.mean_corloc))])


def _keep(context: JobContext, path: Path, text: str) -> None:
    write_atomically(path, text)
    context.spool.append(FileEvent(name=path.name, path=path))
