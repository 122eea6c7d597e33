"""Stage `data`: everything that a run needs on disk before its first step, done once, in parallel, before any rank
starts.
"""

import time
from collections.abc import Callable

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.class_masks import check_masks
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set, prepare_source
from sdcn_core.data.proposals import compute_proposals
from sdcn_core.training.plan import DATA_SHARE
from sdcn_core.training.progress import Progress, Stage

REPORT_INTERVAL_S = 0.5


def prepare_data(
    experiment: ExperimentConfig, roots: DataRoots, *, processes: int, report: Callable[[Progress], None]
) -> None:
    """Generate or check the data set, read the test split's masks and compute all proposals. Steps of the stage are
    images, over both splits.

    Args:
        experiment: what will be trained.
        roots: where data lies and where the cache is.
        processes: that compute proposals.
        report: told of progress about twice a second; an exception from it ends the work.

    Raises:
        DatasetError: a file is missing or broken, or the data cannot train; the message names it.
    """
    data = experiment.data
    last = 0.0

    def tell(done: int, total: int, *, share: tuple[float, float]) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < REPORT_INTERVAL_S:
            return
        last = now
        within = share[0] + (share[1] - share[0]) * (done / total if total else 1.0)
        report(Progress(Stage.DATA, done, total, DATA_SHARE * within))

    prepare_source(data.source, roots, progress=lambda done, total: tell(done, total, share=(0.0, 0.2)))
    train = open_train_set(data.source, roots, labels_from_difficult=data.labels_from_difficult)
    judged = open_annotated_set(data.source, roots, role="test")
    open_annotated_set(data.source, roots, role="train")  # a broken annotation shows now, not after hours
    check_masks(judged, progress=lambda done, total: tell(done, total, share=(0.2, 0.3)))
    test = judged.image_set
    total = len(train.records) + len(test.records)
    for image_set, before in ((train, 0), (test, len(train.records))):
        compute_proposals(
            image_set,
            data.proposals,
            roots=roots,
            processes=processes,
            progress=lambda done, _, before=before: tell(before + done, total, share=(0.3, 1.0)),  # type: ignore[misc]
        )
