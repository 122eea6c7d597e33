from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sdcn_core.evaluation.comparison_page import Column, Section, comparison_page
from sdcn_core.evaluation.drawing import WHITE, Colour, class_colours
from sdcn_core.evaluation.tiles import TILE_PX
from tests.sdcn_core.evaluation.made_up import annotation, detections

CLASSES = ("cat", "dog")
GREY = np.full((96, 96, 3), 128, dtype=np.uint8)
TRUTH = annotation([[10, 10, 40, 40]], [0])
FITTING = detections([[10, 10, 40, 42]], [0.9], [0])
RED: Colour = (228, 40, 40)
CAT = class_colours(2)[0]
LEFTS = (20, 340, 660)
"""left edges of the first three tiles"""


def page_of(
    path: Path,
    *columns: Column,
    images: Sequence[NDArray[np.uint8]] = (GREY,),
    masks: Sequence[NDArray[np.int16] | None] | None = None,
    sections: Sequence[Section] = (),
) -> NDArray[np.uint8]:
    truths = [TRUTH] * len(images)
    comparison_page(images, truths, columns, CLASSES, path, title="Page", masks=masks, sections=sections)
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


def count_in(page: NDArray[np.uint8], column: int, colour: Colour) -> int:
    """Pixels of the colour in the tile of the first row, caption and header left out."""
    left = LEFTS[column]
    top = int(np.flatnonzero((page[:, LEFTS[0] + 150] == 128).all(axis=1))[0])
    return int((page[top : top + TILE_PX, left : left + TILE_PX] == colour).all(axis=2).sum())


def test_a_page_has_a_row_an_image_and_a_column_more_than_is_given(tmp_path: Path) -> None:
    one = page_of(tmp_path / "1.png", Column("a", [FITTING]), Column("b", [FITTING]))
    two = page_of(tmp_path / "2.png", Column("a", [FITTING] * 2), Column("b", [FITTING] * 2), images=[GREY] * 2)
    assert one.shape[1] == two.shape[1] == 20 + 3 * 320
    assert len(two) > len(one) + TILE_PX


def test_boxes_are_in_the_column_s_colour_or_else_in_that_of_their_class(tmp_path: Path) -> None:
    page = page_of(tmp_path / "p.png", Column("a", [FITTING], RED), Column("b", [FITTING]))
    assert [count_in(page, k, RED) > 1000 for k in range(3)] == [False, True, False]
    assert [count_in(page, k, CAT) > 1000 for k in range(3)] == [True, False, True]


def test_the_colour_of_a_column_stands_beside_its_title_and_not_beside_names_of_classes(tmp_path: Path) -> None:
    page = page_of(tmp_path / "p.png", Column("a", [FITTING], RED), Column("b", [FITTING]))
    top = int(np.flatnonzero((page[:, LEFTS[0] + 150] == 128).all(axis=1))[0])
    beside = [
        (page[:, left : left + 15] == colour).all(axis=2) for left, colour in zip(LEFTS[1:], (RED, CAT), strict=True)
    ]
    title_line = slice(top - 40, top)
    below = slice(top + TILE_PX, None)
    assert [int(found[title_line].sum()) for found in beside] == [169, 0]
    assert [int(found[below].sum()) for found in beside] == [0, 169], "the legend above has the colours of classes"


def test_the_last_caption_is_whole_however_many_lines_it_has(tmp_path: Path) -> None:
    many = detections([[10, 10, 40, 42]] * 6, [0.9] * 6, [0] * 6)
    page = page_of(tmp_path / "p.png", Column("a", [many]))
    lines = np.flatnonzero((page[:, LEFTS[1] : LEFTS[1] + 13] == CAT).all(axis=(1, 2)))
    assert len(lines) == 3 * 13
    assert len(page) - lines[-1] > 20


def test_a_box_that_fits_no_object_has_gaps(tmp_path: Path) -> None:
    wrong_class = detections([[10, 10, 40, 42]], [0.9], [1])
    page = page_of(tmp_path / "p.png", Column("a", [FITTING], RED), Column("b", [wrong_class], RED))
    assert 0.5 < count_in(page, 2, RED) / count_in(page, 1, RED) < 0.8


def test_words_never_stand_on_an_image(tmp_path: Path) -> None:
    page = page_of(tmp_path / "p.png", Column("a", [detections([[0, 0, 5, 5]], [0.9], [1])], RED))
    for k, (x1, y1, x2, y2) in enumerate([(30, 30, 126, 126), (0, 0, 17, 17)]):
        top = int(np.flatnonzero((page[:, LEFTS[0] + 150] == 128).all(axis=1))[0])
        tile = page[top : top + TILE_PX, LEFTS[k] : LEFTS[k] + TILE_PX].copy()
        tile[y1:y2, x1:x2] = 128
        assert (tile == 128).all()


def test_a_map_paints_its_classes_and_outlines_the_drawn_mask(tmp_path: Path) -> None:
    grid = np.full((12, 12), 2, np.uint8)
    grid[:6] = 1
    mask = np.full((96, 96), 2, np.int16)
    mask[20:60, 20:60] = 0
    bare = page_of(tmp_path / "a.png", Column("a", [grid]))
    outlined = page_of(tmp_path / "b.png", Column("a", [grid]), masks=[mask])
    dog = np.array(class_colours(2)[1])
    painted = tuple(int(v) for v in (0.4 * 128 + 0.6 * dog).round())
    assert count_in(bare, 1, painted) == TILE_PX * TILE_PX // 2  # type: ignore[arg-type]
    assert (count_in(bare, 1, WHITE), count_in(outlined, 1, WHITE) > 400) == (0, True)


def test_a_network_that_has_no_map_of_an_image_and_one_that_found_nothing_leave_a_word(tmp_path: Path) -> None:
    nothing = detections([], [], [])
    page = page_of(tmp_path / "p.png", Column("a", [nothing]), Column("b", [None]))
    assert page.shape[1] == 980


def test_sections_put_headings_between_rows(tmp_path: Path) -> None:
    columns = [Column("a", [FITTING] * 3)]
    plain = page_of(tmp_path / "a.png", *columns, images=[GREY] * 3)
    parted = page_of(
        tmp_path / "b.png", *columns, images=[GREY] * 3, sections=[Section("best", 2), Section("worst", 1)]
    )
    assert len(parted) > len(plain)
    with pytest.raises(ValueError, match="cannot hold 3 images"):
        page_of(tmp_path / "c.png", *columns, images=[GREY] * 3, sections=[Section("best", 2)])


@pytest.mark.parametrize("size", [(500, 333), (40, 900)], ids=str)
def test_large_and_thin_images_are_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 128, np.uint8)
    page = page_of(
        tmp_path / "p.jpg", Column("a", [FITTING]), Column("b", [np.zeros((4, 9), np.uint8)]), images=[image]
    )
    assert page.shape[1] == 980


def test_columns_of_other_lengths_and_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        page_of(tmp_path / "p.png", Column("a", []))
    with pytest.raises(ValueError, match="at least one image"):
        page_of(tmp_path / "p.png", images=[])
    with pytest.raises(ValueError, match=r"p\.gif"):
        page_of(tmp_path / "p.gif", Column("a", [FITTING]))
