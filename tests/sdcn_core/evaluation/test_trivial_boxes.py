import numpy as np
import pytest

from sdcn_core.evaluation.trivial_boxes import TRIVIAL_BOXES, centred_box, largest_proposal, whole_image

NONE = np.zeros((0, 4), np.float32)


def test_the_whole_image_is_a_box_around_all_its_pixels() -> None:
    assert whole_image(30, 40, NONE).tolist() == [[0, 0, 40, 30]]


def test_the_centred_box_has_the_image_s_centre_and_four_fifths_of_its_sides() -> None:
    np.testing.assert_allclose(centred_box(50, 100, NONE), [[10, 5, 90, 45]], rtol=1e-6)


def test_the_largest_proposal_is_not_one_that_covers_the_image() -> None:
    proposals = np.array([[0, 0, 100, 100], [0, 0, 95, 95], [0, 0, 60, 50], [10, 10, 70, 60], [5, 5, 9, 9]], np.float32)
    assert largest_proposal(100, 100, proposals).tolist() == [[0, 0, 60, 50]]


@pytest.mark.parametrize("proposals", [NONE, np.array([[0, 0, 100, 100]], np.float32)])
def test_without_a_proposal_that_is_smaller_than_the_image_the_centred_box_stands_in(proposals: np.ndarray) -> None:
    np.testing.assert_array_equal(largest_proposal(100, 100, proposals), centred_box(100, 100, proposals))


def test_each_gives_one_box_inside_the_image() -> None:
    proposals = np.array([[3, 4, 20, 30], [0, 0, 50, 40]], np.float32)
    for make in TRIVIAL_BOXES.values():
        box = make(40, 50, proposals)
        assert box.shape == (1, 4)
        assert box.dtype == np.float32
        assert (box[:, :2] >= 0).all()
        assert (box[:, 2:] <= [50, 40]).all()
