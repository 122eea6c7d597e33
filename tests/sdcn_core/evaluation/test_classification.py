from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdcn_core.data.image_set import AnnotatedSet, ImageRecord, ImageSet
from sdcn_core.evaluation.classification import classification_average_precision
from tests.sdcn_core.evaluation.made_up import annotation

BOX = [0, 0, 9, 9]


def labelled(*labels: tuple[int, ...]) -> AnnotatedSet:
    """Images with these labels, of two classes."""
    records = tuple(ImageRecord(f"{k}", Path(f"{k}.png"), 9, 9, of) for k, of in enumerate(labels))
    return AnnotatedSet(ImageSet("test", ("cat", "dog"), records), None)


def of_cats(*scores: float) -> list[np.ndarray]:
    """Two proposals an image, the better one a cat of this score."""
    return [np.array([[0.0, 0.1], [score, 0.05]], np.float32) for score in scores]


def test_an_image_ranks_by_its_best_proposal() -> None:
    split = labelled((0,), (), (0,))
    aps = classification_average_precision(split, of_cats(0.9, 0.8, 0.7), flavour="area")
    assert aps == (pytest.approx((1 + 2 / 3) / 2), None)


def test_a_class_that_no_image_has_leaves_the_others_alone() -> None:
    split = labelled((1,), ())
    assert classification_average_precision(split, of_cats(0.9, 0.8), flavour="area") == (None, 1.0)


def test_an_image_whose_objects_of_a_class_are_all_difficult_is_left_out_of_its_ranking() -> None:
    split = labelled((), (0,), ())
    hard = annotation([BOX], [0], difficult=[True], image_id="0")
    known = replace(split, annotations=(hard, annotation([BOX], [0]), annotation([], [])))
    scores = of_cats(0.9, 0.8, 0.7)
    assert classification_average_precision(known, scores, flavour="area")[0] == 1.0
    assert classification_average_precision(split, scores, flavour="area")[0] == 0.5


def test_the_eleven_points_of_voc_2007_are_the_flavour_s() -> None:
    aps = classification_average_precision(labelled((0,), (), (0,)), of_cats(0.9, 0.8, 0.7), flavour="voc07_11point")
    assert aps[0] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_a_split_without_images_has_no_ap() -> None:
    assert classification_average_precision(labelled(), [], flavour="area") == (None, None)
