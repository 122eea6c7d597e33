from pathlib import Path

import cv2
import numpy as np
import pytest

from workers.reporting.page import LARGEST_PICTURE_BYTES, WIDEST_PICTURE_PX, picture


def test_a_picture_is_held_as_it_is(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((20, 30, 3), np.uint8))
    held = picture(tmp_path / "small.png", alt="black")
    assert held is not None
    assert (held.width, held.height) == (30, 20)
    assert held.data_uri.startswith("data:image/png;base64,")


def test_a_large_picture_is_made_smaller_for_the_page(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2800, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "large.jpg"), noise)
    held = picture(tmp_path / "large.jpg", alt="noise")
    assert held is not None
    assert (held.width, held.height) == (WIDEST_PICTURE_PX, 750)
    assert len(held.data_uri) < (tmp_path / "large.jpg").stat().st_size
    assert (tmp_path / "large.jpg").stat().st_size > LARGEST_PICTURE_BYTES


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_picture_that_cannot_be_read_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    assert picture(tmp_path / "broken.png", alt="") is None
    assert picture(tmp_path / "missing.png", alt="") is None
