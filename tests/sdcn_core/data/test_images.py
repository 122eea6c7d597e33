from pathlib import Path

import cv2
import numpy as np
import pytest

from sdcn_core.data import images
from sdcn_core.data.images import image_size, read_image
from sdcn_core.errors import DatasetError
from tests.sdcn_core.data.voc_folders import write_image


def test_an_image_is_read_as_rgb(tmp_path: Path) -> None:
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "red.png"), red)
    assert read_image(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]


def test_a_grey_image_has_three_channels(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.jpg"), np.full((4, 6), 77, np.uint8))
    assert read_image(tmp_path / "grey.jpg").shape == (4, 6, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_size_in_the_header_is_that_of_the_pixels(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"image.{suffix}", width=37, height=21)
    assert image_size(tmp_path / f"image.{suffix}") == (21, 37) == read_image(tmp_path / f"image.{suffix}").shape[:2]


def test_a_size_behind_a_long_colour_profile_is_found(tmp_path: Path) -> None:
    write_image(tmp_path / "plain.jpg", width=37, height=21)
    encoded = (tmp_path / "plain.jpg").read_bytes()
    profile = b"\xff\xe2" + (60_000).to_bytes(2, "big") + bytes(59_998)
    (tmp_path / "profile.jpg").write_bytes(encoded[:2] + profile * 2 + encoded[2:])
    assert image_size(tmp_path / "profile.jpg") == (21, 37)


def test_an_exif_rotation_is_ignored_so_that_pixels_and_header_agree(tmp_path: Path) -> None:
    write_image(tmp_path / "plain.jpg", width=37, height=21)
    encoded = (tmp_path / "plain.jpg").read_bytes()
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    exif = b"Exif\x00\x00" + tiff
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "turned.jpg").write_bytes(encoded[:2] + segment + encoded[2:])
    turned = cv2.imread(str(tmp_path / "turned.jpg"))
    assert turned is not None
    assert turned.shape[:2] == (37, 21), "the test's own rotation tag must be one that OpenCV obeys"
    assert read_image(tmp_path / "turned.jpg").shape[:2] == (21, 37)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_an_image_that_is_cut_off_is_refused_by_name(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    write_image(path, width=80, height=60)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(DatasetError, match=rf"cut\.{suffix} is broken or cut off: replace it"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"GIF89a......", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\x00"])
def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.jpg").write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(DatasetError, match=r"odd\.jpg"):
            read(tmp_path / "odd.jpg")


def test_a_missing_image_is_named_with_the_way_out(tmp_path: Path) -> None:
    for read in (read_image, image_size):
        with pytest.raises(DatasetError, match=r"gone\.jpg cannot be read .* take it off the split list"):
            read(tmp_path / "gone.jpg")


def test_a_header_that_claims_too_many_pixels_is_refused_before_decoding(tmp_path: Path) -> None:
    header = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (60_000).to_bytes(4, "big") * 2
    (tmp_path / "bomb.png").write_bytes(header)
    with pytest.raises(DatasetError, match=r"claims 60000 x 60000 pixels"):
        read_image(tmp_path / "bomb.png")


def test_a_file_of_too_many_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 100)
    write_image(tmp_path / "large.png")
    with pytest.raises(DatasetError, match=r"large\.png has more than"):
        read_image(tmp_path / "large.png")
