import zlib
from pathlib import Path

import numpy as np
import pytest

from sdcn_core.errors import BadInput
from sdcn_core.evaluation.predictions import (
    BOXES_PER_IMAGE,
    Predictions,
    load_predictions,
    save_predictions,
    shown_images,
)
from tests.sdcn_core.evaluation.made_up import detections, random_boxes

CLASSES = ("cat", "dog")


def through_a_file(predictions: Predictions, folder: Path) -> Predictions:
    save_predictions(predictions, folder / "predictions.npz")
    return load_predictions(folder / "predictions.npz")


def test_predictions_survive_their_file(tmp_path: Path) -> None:
    found = (
        detections([[0, 0, 5, 5], [1, 1, 9, 9]], [0.9, 0.8], [1, 0], "a"),
        detections([], [], [], "b"),
        detections([[2, 2, 3, 3]], [0.25], [1], "c"),
    )
    maps = {"a": np.array([[0, 1, 2]], np.uint8), "c": np.array([[2], [1]], np.uint8)}
    again = through_a_file(Predictions(CLASSES, found, maps), tmp_path)
    assert again.classes == CLASSES
    for before, after in zip(found, again.detections, strict=True):
        assert after.image_id == before.image_id
        for field in ("boxes", "scores", "classes"):
            np.testing.assert_array_equal(getattr(after, field), getattr(before, field), strict=True)
    assert {image_id: grid.tolist() for image_id, grid in again.maps.items()} == {"a": [[0, 1, 2]], "c": [[2], [1]]}


def test_a_network_without_maps_and_a_split_without_images_survive(tmp_path: Path) -> None:
    assert through_a_file(Predictions(CLASSES, (), {}), tmp_path) == Predictions(CLASSES, (), {})


def test_only_the_best_boxes_of_an_image_are_kept_in_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = rng.permutation(np.linspace(0, 1, BOXES_PER_IMAGE + 20))
    found = detections(random_boxes(rng, len(scores)), scores, np.arange(len(scores)) % 2)
    (kept,) = through_a_file(Predictions(CLASSES, (found,), {}), tmp_path).detections
    best = scores >= np.sort(scores)[20]
    np.testing.assert_array_equal(kept.scores, found.scores[best])
    np.testing.assert_array_equal(kept.boxes, found.boxes[best])


def test_more_classes_than_a_byte_holds_survive(tmp_path: Path) -> None:
    classes = tuple(f"c{k}" for k in range(300))
    found = (detections([[0, 0, 5, 5]], [0.9], [299]),)
    again = through_a_file(Predictions(classes, found, {"im": np.array([[300]], np.uint16)}), tmp_path)
    assert (again.detections[0].classes.tolist(), again.maps["im"].tolist()) == ([299], [[300]])


def test_shown_images_are_spread_and_few() -> None:
    assert shown_images(3) == [0, 1, 2]
    assert shown_images(0) == []
    assert shown_images(1) == [0]
    many = shown_images(4952)
    assert (len(many), many[0], many[-1]) == (200, 0, 4951)


def pickled(path: Path) -> None:
    np.savez(path, image_ids=np.array([{"a": 1}], dtype=object))


def a_single_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def cut_off(path: Path) -> None:
    save_predictions(Predictions(CLASSES, (), {}), path)
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    "spoil",
    [lambda path: None, lambda path: path.write_bytes(b"not an archive"), pickled, a_single_array, cut_off],
    ids=["missing", "text", "pickled", "a single array", "cut off"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, spoil: object) -> None:
    spoil(tmp_path / "predictions.npz")  # type: ignore[operator]
    with pytest.raises(BadInput, match=r"predictions\.npz cannot be read"):
        load_predictions(tmp_path / "predictions.npz")


def test_a_damaged_file_is_named_or_read_as_it_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    found = tuple(detections(random_boxes(rng, 5), rng.random(5), np.arange(5) % 2, f"im{k}") for k in range(4))
    path = tmp_path / "predictions.npz"
    save_predictions(Predictions(CLASSES, found, {"im0": np.ones((3, 4), np.uint8)}), path)
    whole, refused = path.read_bytes(), set()
    expected = contents(load_predictions(path))
    for _ in range(600):
        damaged = bytearray(whole)
        start = int(rng.integers(len(whole)))
        match rng.integers(3):
            case 0:
                damaged[start] ^= 1 << int(rng.integers(8))
            case 1:
                damaged[start : start + 20] = rng.bytes(20)
            case _:
                del damaged[start : start + int(rng.integers(1, 64))]
        path.write_bytes(damaged)
        try:
            assert contents(load_predictions(path)) == expected
        except BadInput as error:
            refused.add(type(error.__cause__))
    assert {zlib.error, NotImplementedError, KeyError} <= refused


def test_offsets_that_hold_no_number_are_named(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    np.savez(path, image_ids=["a"], offsets=np.int64(0), boxes=[], scores=[], labels=np.array([]))
    with pytest.raises(BadInput, match=r"predictions\.npz cannot be read"):
        load_predictions(path)


def contents(predictions: Predictions) -> list[object]:
    found = [
        (one.image_id, one.boxes.tolist(), one.scores.tolist(), one.classes.tolist()) for one in predictions.detections
    ]
    return [predictions.classes, found, {image_id: grid.tolist() for image_id, grid in predictions.maps.items()}]
