import numpy as np
import pytest
from numpy.typing import NDArray

from sdcn_core.data.transforms import distinct, flip, resize, scale_factor

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def boxes(*rows: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("side", "side_px", "limit", "factor"),
    [("shortest", 600, 2000, 2.0), ("longest", 600, 2000, 1.5), ("shortest", 600, 700, 1.75)],
)
def test_the_drawn_scale_goes_to_its_side_and_the_longest_side_is_bounded(
    side: str, side_px: int, limit: int, factor: float
) -> None:
    assert scale_factor(300, 400, side_px=side_px, side=side, max_side_px=limit) == factor


def test_an_image_without_a_scale_is_shrunk_only_beyond_the_bound() -> None:
    assert scale_factor(300, 400, side_px=None, side="shortest", max_side_px=400) == 1.0
    assert scale_factor(300, 400, side_px=None, side="shortest", max_side_px=200) == 0.5


def test_boxes_are_scaled_with_the_pixels_and_reach_the_same_edges() -> None:
    image, scaled = resize(PIXELS, boxes((0, 0, 6, 4), (3, 2, 6, 4)), 2.5)
    assert image.shape == (10, 15, 3)
    assert scaled.tolist() == [[0, 0, 15, 10], [7.5, 5, 15, 10]]


def test_a_box_keeps_a_pixel_and_stays_inside_however_small_the_image_becomes() -> None:
    image, scaled = resize(PIXELS, boxes((5, 3, 6, 4), (0, 0, 1, 1)), 0.25)
    assert image.shape == (1, 2, 3)
    assert scaled.tolist() == [[1, 0, 2, 1], [0, 0, 1, 1]]


def test_pixels_and_boxes_are_mirrored_together() -> None:
    image, mirrored = flip(PIXELS, boxes((1, 2, 3, 4)))
    assert mirrored.tolist() == [[3, 2, 5, 4]]
    assert image[2:4, 3:5].tolist() == PIXELS[2:4, 1:3][:, ::-1].tolist()
    again, back = flip(image, mirrored)
    assert again.tolist() == PIXELS.tolist()
    assert back.tolist() == [[1, 2, 3, 4]]


def test_of_boxes_in_one_cell_the_first_stays() -> None:
    found = distinct(boxes((0, 0, 32, 32), (0, 0, 16, 16), (1, 3, 17, 14), (0, 0, 30, 33)), 8.0)
    assert found.tolist() == [0, 1]


def test_no_boxes_are_scaled_mirrored_and_thinned_to_no_boxes() -> None:
    assert resize(PIXELS, boxes(), 2.0)[1].shape == (0, 4)
    assert flip(PIXELS, boxes())[1].shape == (0, 4)
