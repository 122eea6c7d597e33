"""Pictures as a study leaves them, of scenes drawn here; their boxes are made up."""

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
    return draw_scene(np.random.default_rng(seed), layout=SceneLayout.PARTS, side_px=TILE_PX, wanted_class=seed % 6)


def write_photo(path: Path, seed: int = 3) -> Path:
    cv2.imwrite(str(path), scene(seed).pixels[:, :, ::-1])
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
