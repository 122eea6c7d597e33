from pathlib import Path

import cv2
import numpy as np
import pytest

from sdcn_core.evaluation.drawing import Label, class_colours, draw_labels, shorten, text_width
from sdcn_core.evaluation.pictures import detections_picture
from sdcn_core.structures.annotation import Detections, ImageLabels
from tests.sdcn_core.evaluation.made_up import annotation, detections

CLASSES = ("cat", "dog")
GREY = np.full((96, 96, 3), 128, dtype=np.uint8)


def page_with(path: Path, *found: Detections, image: np.ndarray = GREY) -> np.ndarray:
    """The picture read back, RGB; every image has one cat at its top left."""
    truth = annotation([[10, 10, 40, 40]], [0])
    detections_picture([image] * len(found), [truth] * len(found), found, CLASSES, path)
    page = cv2.imread(str(path))
    return cv2.cvtColor(page, cv2.COLOR_BGR2RGB)


def count_of(page: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((page == colour).all(axis=2).sum())


def test_a_detection_is_drawn_in_the_colour_of_its_class(tmp_path: Path) -> None:
    cat, dog = class_colours(2)
    page = page_with(tmp_path / "p.png", detections([[50, 50, 90, 90]], [0.9], [1]))
    assert count_of(page, dog) > 4 * 120
    assert count_of(page, cat) < 200, "cat is in the legend alone"


def test_as_many_detections_are_drawn_as_there_are_objects(tmp_path: Path) -> None:
    dog = class_colours(2)[1]
    two = detections([[50, 50, 90, 90], [5, 50, 45, 90]], [0.9, 0.8], [1, 1])
    alone = detections([[50, 50, 90, 90]], [0.9], [1])
    drawn = page_with(tmp_path / "two.png", two)
    np.testing.assert_array_equal(drawn, page_with(tmp_path / "one.png", alone))
    assert count_of(page_with(tmp_path / "more.png", two, two), dog) > count_of(drawn, dog)


def test_an_image_below_the_page_s_score_still_shows_its_best_detection(tmp_path: Path) -> None:
    dog = class_colours(2)[1]
    strong = detections([[50, 50, 90, 90], [5, 50, 45, 90]], [0.9, 0.8], [0, 0])
    with_weak = page_with(tmp_path / "w.png", strong, detections([[50, 50, 90, 90]], [0.1], [1]))
    without = page_with(tmp_path / "n.png", strong, detections([], [], []))
    assert count_of(with_weak, dog) > count_of(without, dog) + 400


@pytest.mark.parametrize("size", [(96, 96), (500, 333), (40, 900)])
def test_small_large_and_thin_images_fill_a_tile(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 37, dtype=np.uint8)
    page = page_with(tmp_path / "p.png", detections([], [], []), image=image)
    rows, columns = np.nonzero((page == 37).all(axis=2))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 300


def test_boxes_that_leave_the_image_are_cut_and_do_not_touch_the_caption(tmp_path: Path) -> None:
    dog = class_colours(2)[1]
    page = page_with(tmp_path / "p.png", detections([[-20, -20, 200, 200]], [0.9], [1]))
    right, bottom = 20 + 300 - 1, len(page) - 20 - 24 - 1  # margin and caption lie below
    assert tuple(page[bottom, right]) == dog
    rows, columns = np.nonzero((page == dog).all(axis=2))
    assert (rows.max(), columns.max()) == (bottom, right)


def test_images_without_objects_or_detections_are_drawn(tmp_path: Path) -> None:
    detections_picture([GREY], [annotation([], [])], [detections([], [], [])], CLASSES, tmp_path / "p.jpg")
    assert cv2.imread(str(tmp_path / "p.jpg")) is not None


def test_a_given_image_is_not_drawn_upon(tmp_path: Path) -> None:
    image = np.full((300, 300, 3), 128, dtype=np.uint8)
    page_with(tmp_path / "p.png", detections([[50, 50, 90, 90]], [0.9], [1]), image=image)
    assert (image == 128).all()


def test_no_image_and_an_unknown_kind_of_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        detections_picture([], [], [], CLASSES, tmp_path / "p.png")
    with pytest.raises(ValueError, match=r"p\.gif"):
        page_with(tmp_path / "p.gif", detections([], [], []))


def test_tags_of_equal_boxes_stand_side_by_side() -> None:
    red, green = (255, 0, 0), (0, 255, 0)
    image = np.zeros((300, 300, 3), dtype=np.uint8)
    draw_labels(image, [Label((50, 50, 200, 200), "cat 0.9", red), Label((50, 50, 200, 200), "dog 0.8", green)])
    alone = np.zeros((300, 300, 3), dtype=np.uint8)
    draw_labels(alone, [Label((50, 50, 200, 200), "cat 0.9", red)])
    assert count_of(image, red) == count_of(alone, red)
    assert count_of(image, green) > 300


def test_a_text_is_shortened_to_its_place() -> None:
    assert shorten("cat", 14, 100) == "cat"
    short = shorten("a caption that is much too long", 14, 100)
    assert short.endswith("…")
    assert text_width(short, 14) <= 100


def test_where_nobody_drew_boxes_as_many_detections_are_drawn_as_there_are_labels(tmp_path: Path) -> None:
    dog = class_colours(2)[1]
    two = detections([[50, 50, 90, 90], [5, 5, 45, 45]], [0.9, 0.8], [1, 1])
    for labels in ((1,), (0, 1)):
        path = tmp_path / f"{len(labels)}.png"
        detections_picture([GREY], [ImageLabels("im", labels)], [two], CLASSES, path)
    one, both = (cv2.cvtColor(cv2.imread(str(tmp_path / f"{n}.png")), cv2.COLOR_BGR2RGB) for n in (1, 2))
    assert count_of(both, dog) > 1.5 * count_of(one, dog)
    truth = page_with(tmp_path / "truth.png", two)
    assert count_of(one[120:], (255, 255, 255)) < count_of(truth[120:], (255, 255, 255)), "no object in white"
