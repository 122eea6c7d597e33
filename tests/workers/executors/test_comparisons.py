"""The pages that an ablation leaves of what its base row and its last row found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdcn_core.data.datasets import DataRoots, open_annotated_set, prepare_source
from sdcn_core.data.image_set import AnnotatedSet
from sdcn_core.evaluation.predictions import Predictions, save_predictions
from sdcn_core.structures.annotation import Annotation, Detections
from service.jobs.specs import AblationSpec
from service.jobs.study_results import AblationResults, RunFound, RunState, ablation_rows
from tests.workers.executors.trained import ContextOf
from workers.executors.ablation import _compare
from workers.executors.base import JobContext
from workers.spool import FileEvent, NoteEvent, SpoolReader

Finding = Callable[[int, Annotation], Detections]


def everything(_: int, objects: Annotation) -> Detections:
    return Detections(objects.image_id, objects.boxes, np.full(len(objects.boxes), 0.9, np.float32), objects.classes)


def nothing(_: int, objects: Annotation) -> Detections:
    return everything(0, replace(objects, boxes=objects.boxes[:0], classes=objects.classes[:0]))


def half(index: int, objects: Annotation) -> Detections:
    return (everything if index % 2 else nothing)(index, objects)


class Study:
    """Two rows, `before` and `after`, whose predictions are made up."""

    def __init__(self, context_of: ContextOf) -> None:
        variants = [{"name": "before"}, {"name": "after"}]
        self.spec = AblationSpec.model_validate({"preset": "tiny", "variants": variants}).resolve()
        self.context: JobContext = context_of(self.spec)
        order = self.context.order
        source, roots = self.spec.runs()[0].experiment.data.source, DataRoots(order.data_root, order.home / "cache")
        prepare_source(source, roots, progress=lambda done, total: None)
        self.split: AnnotatedSet = open_annotated_set(source, roots, role="test")
        self.context.run.artifacts.mkdir(parents=True)

    def predictions(self, row: str) -> Path:
        (run,) = (run for run in self.spec.runs() if run.variant == row)
        return self.context.run.path / "runs" / run.name / "artifacts" / "predictions.npz"

    def find(self, **rows: Finding) -> None:
        """Each row finds what its function says."""
        for row, finding in rows.items():
            found = tuple(finding(index, objects) for index, objects in enumerate(self.split.annotations))
            self.predictions(row).parent.mkdir(parents=True)
            save_predictions(Predictions(self.split.image_set.classes, found, {}), self.predictions(row))

    def compare(self) -> None:
        runs = self.spec.runs()
        found = tuple(
            RunFound(name=run.name, variant=run.variant, seed=0, overrides={}, state=RunState.SUCCEEDED) for run in runs
        )
        rows = ablation_rows({"before": "before", "after": "after"}, "before", found)
        _compare(self.context, runs, AblationResults(runs=found, base_variant="before", seeds=(0,), rows=rows))

    @property
    def pages(self) -> list[str]:
        """Those that are told of, which are those that are there."""
        told = [event.name for event in self.events() if isinstance(event, FileEvent)]
        assert sorted(told) == sorted(path.name for path in self.context.run.artifacts.iterdir())
        return told

    def events(self) -> list[object]:
        return list(SpoolReader(self.context.folder.events).read())


@pytest.fixture
def study(context_of: ContextOf) -> Study:
    return Study(context_of)


def test_images_that_gain_and_images_that_lose_have_a_page_each(study: Study) -> None:
    study.find(before=half, after=lambda index, objects: half(index + 1, objects))
    study.compare()
    assert study.pages == ["comparison.jpg", "largest_gains.jpg", "largest_losses.jpg"]


def test_where_no_image_loses_there_is_no_page_of_losses(study: Study) -> None:
    study.find(before=nothing, after=everything)
    study.compare()
    assert study.pages == ["comparison.jpg", "largest_gains.jpg"]


def test_a_damaged_file_of_predictions_costs_the_pages_and_nothing_else(study: Study) -> None:
    study.find(before=half, after=everything)
    path = study.predictions("after")
    damaged = bytearray(path.read_bytes())
    start = damaged.index(b"boxes.npy") + 29  # behind the name and the archive's note of the sizes
    damaged[start : start + 30] = b"\xff" * 30  # the archive is sound, what is packed in it is not
    path.write_bytes(damaged)
    study.compare()
    assert study.pages == []
    (note,) = [event.text for event in study.events() if isinstance(event, NoteEvent)]
    assert note.startswith(f"no comparison is drawn: predictions {path} cannot be read (Error -3")
