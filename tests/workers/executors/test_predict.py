import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from sdcn_core.config.second_stages import fast_rcnn
from sdcn_core.errors import DatasetError, WeightsError
from service.jobs.inference_specs import PredictSpec
from tests.workers.executors.trained import ContextOf, trained_experiment, write_model
from workers.errors import AttemptStopped
from workers.executors.base import JobContext
from workers.executors.predict import predict, predict_images
from workers.ray_runtime.one_task import TaskOrder
from workers.spool import FileEvent, ProgressEvent, SpoolReader


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images, and one file that is none."""
    folder = tmp_path / "data" / "photos"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        pixels = generator.integers(0, 60, (64, 80, 3), dtype=np.uint8)
        pixels[10:40, 12:50, 0] += 180
        cv2.imwrite(str(folder / name), pixels)
    (folder / "c.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture
def context(context_of: ContextOf, photos: Path) -> JobContext:
    return context_of(spec())


def spec(**fields: object) -> PredictSpec:
    asked = {"model": "abc", "folder": "photos", "score_threshold": 0.0, "fast": True}
    return PredictSpec.model_validate(asked | fields).resolve()


def task(context: JobContext) -> TaskOrder:
    return TaskOrder(attempt=context.order, folder=context.folder.path, cpus=1, gpus=0)


def test_boxes_of_every_image_are_left_and_broken_files_named(context: JobContext) -> None:
    results = predict_images(task(context))
    assert (results.images, results.broken) == (2, ("c.jpg",))
    assert results.boxes > 0
    assert results.seconds_per_image is not None
    with (context.run.artifacts / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == results.boxes


def test_a_fast_rcnn_moves_its_boxes_and_keeps_them_in_the_image(
    context_of: ContextOf, photos: Path, tmp_path: Path
) -> None:
    write_model(tmp_path / "runs" / "def" / "artifacts" / "model.pt", fast_rcnn(trained_experiment()))
    context = context_of(spec(model="def"))
    results = predict_images(task(context))
    assert (results.images, results.broken) == (2, ("c.jpg",))
    with (context.run.artifacts / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == results.boxes > 0
    edges = np.array([[float(row[edge]) for edge in ("x1", "y1", "x2", "y2")] for row in rows])
    assert (edges >= 0).all()
    assert (edges <= [80, 64, 80, 64]).all()
    assert (edges != edges.round()).any()


def test_every_image_is_told_and_the_files_at_the_end(context: JobContext) -> None:
    predict_images(task(context))
    events = SpoolReader(context.folder.events).read()
    assert [event.step for event in events if isinstance(event, ProgressEvent)] == [0, 1, 2, 3]
    assert "predictions.json" in [event.name for event in events if isinstance(event, FileEvent)]


def test_a_later_attempt_goes_on_after_the_last_image(context: JobContext) -> None:
    context.folder.stop.touch()
    with pytest.raises(AttemptStopped):
        predict_images(task(context))
    context.folder.stop.unlink()
    first = predict_images(task(context))
    again = predict_images(task(context))
    assert (again.boxes, again.seconds_per_image) == (first.boxes, first.seconds_per_image)  # not predicted again


def test_a_folder_that_is_not_there_is_named(context_of: ContextOf) -> None:
    with pytest.raises(DatasetError, match="no 'nowhere' below the data root"):
        predict(context_of(spec(folder="nowhere")))


def test_an_image_that_is_a_link_out_of_the_data_root_is_refused(context_of: ContextOf, photos: Path) -> None:
    secret = photos.parent.parent / "secret.png"
    (photos / "a.png").rename(secret)
    (photos / "a.png").symlink_to(secret)
    with pytest.raises(DatasetError, match=r"folder: .*a\.png is a link that leads out of the data root"):
        predict(context_of(spec()))


def test_a_model_that_is_gone_is_told(context_of: ContextOf, photos: Path) -> None:
    with pytest.raises(WeightsError, match="fff is not there"):
        predict(context_of(spec(model="fff")))
