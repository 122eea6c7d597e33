"""Pictures as a study leaves them, of scenes drawn here; their boxes are made up."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.config.data import SceneLayout
from sdcn_core.data.scene_drawing import Scene, draw_scene

TILE_PX = 150
BLUE, RED, GREEN = (31, 119, 220), (205, 50, 50), (20, 150, 90)
Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]


def scene(seed: int) -> Scene:
    drawn = draw_scene(np.random.default_rng(seed), layout=SceneLayout.PARTS, side_px=TILE_PX, wanted_class=seed % 6)
    return replace(drawn, pixels=cv2.medianBlur(drawn.pixels, 5))  # without noise, that pictures of pages stay small


def write_photo(path: Path, seed: int = 3) -> Path:
    cv2.imwrite(str(path), scene(seed).pixels[:, :, ::-1])
    return path


def write_turned_photo(path: Path, *, height_px: int) -> Path:
    """A JPEG file, black on the left and white on the right, whose EXIF data ask to be turned by 90 degrees."""
    pixels = np.zeros((height_px, TILE_PX, 3), np.uint8)
    pixels[:, TILE_PX // 2 :] = 255
    encoded = cv2.imencode(".jpg", pixels)[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    path.write_bytes(encoded[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + encoded[2:])
    return path


def write_comparison(path: Path) -> None:
    """Rows of: as annotated, boxes of a part, boxes of the whole."""
    rows = []
    for seed in range(1, 5):
        drawn = scene(seed)
        boxes = [tuple(map(float, one.box)) for one in drawn.objects]
        parts = [_shrunk(box, 0.5) for box in boxes]
        nearly = [_shrunk(box, 0.95) for box in boxes]
        rows.append(
            _row([_boxed(drawn.pixels, shown, c) for shown, c in ((boxes, GREEN), (parts, RED), (nearly, BLUE))])
        )
    _write(path, np.concatenate(rows))


def write_gallery(path: Path, *, columns: int = 4, rows: int = 3) -> None:
    tiles = []
    for seed in range(10, 10 + columns * rows):
        drawn = scene(seed)
        tiles.append(_boxed(drawn.pixels, [_shrunk(tuple(map(float, one.box)), 0.94) for one in drawn.objects], BLUE))
    _write(path, np.concatenate([_row(tiles[row * columns : (row + 1) * columns]) for row in range(rows)]))


def _row(tiles: list[Pixels]) -> Pixels:
    return np.concatenate(
        [cv2.copyMakeBorder(t, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=(255, 255, 255)) for t in tiles], 1
    )


def _boxed(pixels: Pixels, boxes: "list[Box]", colour: tuple[int, int, int]) -> Pixels:
    shown = pixels.copy()
    for x0, y0, x1, y1 in boxes:
        cv2.rectangle(shown, (round(x0), round(y0)), (round(x1), round(y1)), (255, 255, 255), 4)
        cv2.rectangle(shown, (round(x0), round(y0)), (round(x1), round(y1)), colour, 2)
    return shown


def _shrunk(box: Box, share: float) -> Box:
    x0, y0, x1, y1 = box
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    return (
        middle_x - share * (middle_x - x0),
        middle_y - share * (middle_y - y0),
        middle_x + share * (x1 - middle_x),
        middle_y + share * (y1 - middle_y),
    )


def _write(path: Path, pixels: Pixels) -> None:
    cv2.imwrite(str(path), pixels[:, :, ::-1])
