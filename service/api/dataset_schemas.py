"""Registered data sets as answers."""

from service.jobs.answers import DatasetRead, DatasetSummary
from service.queue.records import Dataset


def summarize_dataset(dataset: Dataset) -> DatasetSummary:
    found = dataset.found
    return DatasetSummary(
        name=dataset.name,
        source=dataset.source,
        state=dataset.state,
        job_id=dataset.check.job_id,
        progress=None if dataset.check.state.is_terminal else dataset.check.progress,
        num_classes=None if found is None else len(found.classes),
        images=None if found is None else {split.name: split.images for split in found.splits},
        num_problems=len(dataset.problems),
        created_at=dataset.created_at,
        checked_at=dataset.check.ended_at,
    )


def describe_dataset(dataset: Dataset) -> DatasetRead:
    return DatasetRead(**dict(summarize_dataset(dataset)), problems=dataset.problems, counts=dataset.found)
