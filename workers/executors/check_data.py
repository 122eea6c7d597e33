"""One check of a data set: all of it read and counted, in this process. Goes on where an earlier attempt stopped."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict

from sdcn_core.data.checking import SourceReport, check_source
from sdcn_core.data.datasets import DataRoots, prepare_source
from sdcn_core.data.read_images import ReadImages
from sdcn_core.errors import DatasetError
from service.jobs.data_results import CheckDataResults
from service.jobs.data_specs import CheckDataSpec
from workers.attempt_folder import Succeeded
from workers.executors.base import JobContext
from workers.executors.data import PROGRESS_INTERVAL_S
from workers.spool import MetricsEvent, NoteEvent, ProgressEvent
from workers.training.result_files import keep_text

STAGE = "check"
READ_FILE = "read_images.jsonl"
"""below the job's folder: the images that were read, also for the next attempt"""


def check_data(context: JobContext) -> Succeeded:
    """See JobExecutor. A data set that cannot be used is what was found out, and no failure."""
    report = _report(context)
    problems, notes = map(_in_utf8, report.problems), map(_in_utf8, report.notes)
    results = CheckDataResults.model_validate(asdict(report) | {"problems": tuple(problems), "notes": tuple(notes)})
    context.spool.append(MetricsEvent(global_step=0, values=_metrics(results)))
    artifacts = context.run.artifacts
    keep_text(context.spool, artifacts / "results.json", results.model_dump_json(indent=2))
    return Succeeded(
        results=json.loads(results.model_dump_json()), artifacts={"results.json": artifacts / "results.json"}
    )


def _report(context: JobContext) -> SourceReport:
    order = context.order
    spec = order.spec
    assert isinstance(spec, CheckDataSpec)
    roots = DataRoots(data=order.data_root, cache=order.home / "cache")
    course = _Course(context)
    context.spool.append(NoteEvent(text="making the data set ready"))
    try:
        prepare_source(spec.source, roots, progress=course.part(until=0.5))
        context.spool.append(NoteEvent(text="reading annotations, images and masks"))
        with ReadImages(context.run.path / READ_FILE) as read:
            threads = len(os.sched_getaffinity(0))
            return check_source(spec.source, roots, read=read, threads=threads, progress=course.part(until=1.0))
    except DatasetError as error:
        where = f"the workers' data root is {order.data_root}, which SDCN_DATA_ROOT sets"
        return SourceReport(classes=(), splits=(), unusable=0, problems=(f"{error}; {where}",), notes=())


def _in_utf8(sentence: str) -> str:
    """With escapes for what of a file's name is no UTF-8: neither JSON nor a database could hold it."""
    return sentence.encode("utf-8", "backslashreplace").decode()


class _Course:
    """How far the check is, in parts that are told by a callable (done, total)."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._fraction = 0.0
        self._told_at: float | None = None

    def part(self, *, until: float) -> Callable[[int, int], None]:
        """From where the part before has ended; one that is never told of takes no share."""
        begin = self._fraction

        def tell(done: int, total: int) -> None:
            self._context.check_stop()
            self._fraction = begin + (until - begin) * (done / total if total else 1.0)
            now = time.monotonic()
            if done < total and self._told_at is not None and now - self._told_at < PROGRESS_INTERVAL_S:
                return
            self._told_at = now
            self._context.spool.append(
                ProgressEvent(stage=STAGE, step=done, stage_steps=total, fraction=self._fraction)
            )

        return tell


def _metrics(results: CheckDataResults) -> dict[str, float]:
    values = {f"data/{split.name}/images": float(split.images) for split in results.splits}
    return values | {"data/problems": float(len(results.problems)), "data/unusable": float(results.unusable)}
