"""Stage `data` of every job that trains or judges: data sets made or checked, proposals computed, all of it cached."""

import os
import time
from collections.abc import Callable, Iterable

from sdcn_core.config.data import DataConfig
from sdcn_core.data.class_masks import check_masks
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set, prepare_source
from sdcn_core.data.proposals import compute_proposals
from sdcn_core.errors import BadInput, DatasetError
from sdcn_core.training.plan import DATA_SHARE
from sdcn_core.training.progress import Stage
from workers.executors.base import JobContext
from workers.spool import NoteEvent, ProgressEvent

PROGRESS_INTERVAL_S = 0.5
PARTS = 4
"""of one configuration's data: the data set, its masks, the proposals of either split"""


def prepare_data(context: JobContext, data: DataConfig) -> None:
    """Make the source or check it, read the test split's masks, compute the proposals of both splits on all CPUs.

    Raises:
        DatasetError: the data set is missing, broken or useless; the message names the file.
        AttemptStopped: it was asked to end; what is cached by then stays.
    """
    _prepare(context, data, DataProgress(context, parts=PARTS))


def prepare_distinct(context: JobContext, configurations: Iterable[DataConfig]) -> dict[str, BadInput]:
    """Make ready the data of several experiments, equal ones once.

    Returns:
        What is wrong with those that cannot be used, by digest.

    Raises:
        AttemptStopped: it was asked to end; what is cached by then stays.
    """
    distinct = {data.digest(): data for data in configurations}
    progress = DataProgress(context, parts=PARTS * len(distinct))
    errors = {}
    for number, (digest, data) in enumerate(distinct.items(), start=1):
        try:
            _prepare(context, data, progress)
        except BadInput as error:
            errors[digest] = error
            progress.skip_to(PARTS * number)
    return errors


def _prepare(context: JobContext, data: DataConfig, report: "DataProgress") -> None:
    roots = DataRoots(data=context.order.data_root, cache=context.order.home / "cache")
    processes = len(os.sched_getaffinity(0))
    prepare_source(data.source, roots, progress=report.part("making the data set ready"))
    train_set = open_train_set(data.source, roots, labels_from_difficult=data.labels_from_difficult)
    test_set = open_annotated_set(data.source, roots, role="test")
    if test_set.has_nothing_to_find:
        raise DatasetError(
            f"data.source.test_split {data.source.test_split!r} has no object that counts, so nothing could be judged:"
            " name a split with objects that are not marked difficult"
        )
    check_masks(test_set, progress=report.part("reading the masks of the test images"))
    for name, images in {"training": train_set, "test": test_set.image_set}.items():
        progress = report.part(f"computing proposals of the {name} images")
        compute_proposals(images, data.proposals, roots=roots, processes=processes, progress=progress)


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

    def skip_to(self, part: int) -> None:
        """The parts before it are over, also those that never began."""
        self._begun = part
