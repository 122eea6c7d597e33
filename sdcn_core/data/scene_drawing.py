"""One scene: a picture of some objects, and the truth about it.

What decides the benchmark's difficulty is in the constants below; whoever changes one raises scenes.GENERATOR_VERSION.
"""

import colorsys
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.config.data import SceneLayout
from sdcn_core.data.scene_classes import SCENE, SCENE_CLASSES, Colour, Texture
from sdcn_core.data.scene_shapes import FloatImage, Pose, blob_points, coverage, outline_points, placed, texture

__all__ = ["SCENE_CLASSES", "Scene", "SceneObject", "draw_scene"]

OBJECT_COUNTS = (0.55, 0.30, 0.15)
"""probability of 1, 2, 3 objects"""
OBJECT_SIDE = (0.40, 0.70)
"""longer side of a body, of the image's side: five to eight cells of stride 8 at 96 px. On three cells a part and the
whole around it look alike, and a detector boxes either"""
SAME_CLASS = 0.45
"""probability that a further object is of the first one's class"""
ANY_BODY_HUE = 0.15
"""probability that a body takes any hue instead of one of its class's two"""
PART_DIAMETER = {SceneLayout.PARTS: (0.48, 0.60), SceneLayout.HALO: (0.52, 0.64)}
"""of the geometric mean of the body's sides: large enough that Selective Search proposes it on elongated bodies too"""
CONTEXT = {SceneLayout.PARTS: 0.60, SceneLayout.HALO: 0.77}
"""probability that an object has its class's context beside it (parts) or all around it (halo)"""
CONTEXT_SIDE = {SceneLayout.PARTS: (0.45, 0.75), SceneLayout.HALO: (1.6, 2.0)}
"""of the object's side"""
CONTEXT_ALONE = 0.30
"""probability that the context of a class that is not in the image appears all the same"""
CLASS_BACKGROUND = 0.5
"""probability that the background is that of the first object's class; else it is any"""
OCCLUDER = 0.2
"""probability that something grey covers a part of an object"""
LEAST_SEEN = 0.4
"""an object of which less is visible is not drawn at all"""
MOST_OVERLAP = 0.15
"""bodies are laid out so that their boxes share at most this part of the smaller one, where that is possible"""
NOISE_SIGMA = 8.0
"""of the pixels' Gaussian noise, in [0, 255]"""


@dataclass(frozen=True)
class SceneObject:
    """One object as far as it is seen."""

    class_index: int
    box: tuple[int, int, int, int]
    """xyxy px from 0, half-open, tight around the visible pixels"""
    seen: float
    """visible part of its pixels, in [LEAST_SEEN, 1]"""


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it. M objects, M >= 1."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB"""
    instances: NDArray[np.uint8]
    """(H, W): 0 background, j + 1 where objects[j] is seen"""
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True)
class _Body:
    label: int
    pose: Pose
    points: NDArray[np.float64]
    cover: FloatImage

    @property
    def solid(self) -> NDArray[np.bool_]:
        return self.cover > 0.5

    @property
    def side(self) -> float:
        return 2 * max(self.pose.half_width, self.pose.half_height)


def draw_scene(rng: np.random.Generator, layout: SceneLayout, side_px: int, *, wanted_class: int) -> Scene:
    """A square scene that holds at least one object of class `wanted_class`; the generator decides everything else."""
    bodies = _lay_out(rng, side_px, wanted_class)
    occluder = _occluder_points(rng, bodies) if rng.random() < OCCLUDER else None
    hidden = _hidden_by(occluder, side_px)
    if not _is_seen(bodies[0], hidden):
        occluder, hidden = None, _hidden_by(None, side_px)  # the scene was promised an object of this class
    seen_bodies: list[_Body] = []
    instances = np.zeros((side_px, side_px), np.uint8)
    objects: list[SceneObject] = []
    for body in bodies:  # from the front to the back
        visible = body.solid & ~hidden
        if not _is_seen(body, hidden):
            continue
        hidden |= body.solid
        seen_bodies.append(body)
        instances[visible] = len(seen_bodies)
        objects.append(SceneObject(body.label, _tight_box(visible), float(visible.sum() / body.solid.sum())))

    canvas = _background(rng, side_px, wanted_class)
    for blob, label in _contexts(rng, layout, side_px, seen_bodies):
        _paint_context(rng, canvas, blob, label)
    for _ in range(rng.integers(1, 4)):
        _paint_distractor(rng, canvas)
    for body in reversed(seen_bodies):
        _paint_body(rng, canvas, body, layout)
    if occluder is not None:
        _paint_grey(rng, canvas, coverage(occluder, side_px, side_px))
    canvas *= _light(rng, side_px)
    canvas += rng.standard_normal(canvas.shape, np.float32) * np.float32(NOISE_SIGMA)
    return Scene(np.clip(np.rint(canvas), 0, 255).astype(np.uint8), instances, tuple(objects))


def _lay_out(rng: np.random.Generator, side_px: int, wanted_class: int) -> list[_Body]:
    bodies: list[_Body] = []
    for number in range(1 + int(rng.choice(len(OBJECT_COUNTS), p=OBJECT_COUNTS))):
        another = int(rng.integers(len(SCENE)))
        label = wanted_class if number == 0 or rng.random() < SAME_CLASS else another
        tries = [_body(rng, side_px, label) for _ in range(1 if number == 0 else 8)]
        overlaps = [max((_overlap(body, other) for other in bodies), default=0.0) for body in tries]
        best = int(np.argmin(overlaps))
        if overlaps[best] <= MOST_OVERLAP:
            bodies.append(tries[best])
    return bodies


def _body(rng: np.random.Generator, side_px: int, label: int) -> _Body:
    look = SCENE[label]
    aspect = look.aspect * math.exp(rng.uniform(-0.15, 0.15))
    longer = rng.uniform(*OBJECT_SIDE) * side_px / 2
    half_width, half_height = (longer / aspect, longer) if aspect > 1 else (longer, longer * aspect)
    shape = outline_points(look.outline)
    turned = placed(shape, Pose(0, 0, half_width, half_height, angle := rng.uniform(-0.45, 0.45)))
    low, high = turned.min(axis=0), turned.max(axis=0)
    free = np.maximum(side_px - 2 - (high - low), 0)
    x, y = 1 - low + rng.random(2) * free
    points = turned + np.array([x, y])
    return _Body(label, Pose(x, y, half_width, half_height, angle), points, coverage(points, side_px, side_px))


def _overlap(body: _Body, other: _Body) -> float:
    """Shared area of the two boxes over the smaller one's, in [0, 1]."""
    low = np.maximum(body.points.min(axis=0), other.points.min(axis=0))
    high = np.minimum(body.points.max(axis=0), other.points.max(axis=0))
    smaller = min(np.prod(np.ptp(body.points, axis=0)), np.prod(np.ptp(other.points, axis=0)))
    return float(np.prod(np.maximum(high - low, 0)) / smaller)


def _occluder_points(rng: np.random.Generator, bodies: list[_Body]) -> NDArray[np.float64]:
    body = bodies[rng.integers(len(bodies))]
    angle = rng.uniform(0, 2 * math.pi)
    reach = 0.42 * body.side
    x, y = body.pose.x + reach * math.cos(angle), body.pose.y + reach * math.sin(angle)
    half = body.side / 2 * rng.uniform(0.45, 0.8)
    return placed(blob_points(rng), Pose(x, y, half, half * rng.uniform(0.6, 1.0), angle))


def _hidden_by(occluder: NDArray[np.float64] | None, side_px: int) -> NDArray[np.bool_]:
    if occluder is None:
        return np.zeros((side_px, side_px), np.bool_)
    return coverage(occluder, side_px, side_px) > 0.5


def _is_seen(body: _Body, hidden: NDArray[np.bool_]) -> bool:
    return bool((body.solid & ~hidden).sum() >= LEAST_SEEN * body.solid.sum())


def _tight_box(visible: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _background(rng: np.random.Generator, side_px: int, wanted_class: int) -> FloatImage:
    anything = int(rng.integers(len(SCENE)))
    label = wanted_class if rng.random() < CLASS_BACKGROUND else anything
    canvas = np.empty((side_px, side_px, 3), np.float32)
    canvas[:] = np.array(SCENE[label].background, np.float32) * rng.uniform(0.8, 1.1)
    small = rng.standard_normal((6, 6), np.float32)
    clouds = cv2.resize(small, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    canvas += 7 * clouds[:, :, None]
    return canvas


def _contexts(
    rng: np.random.Generator, layout: SceneLayout, side_px: int, bodies: list[_Body]
) -> list[tuple[NDArray[np.float64], int]]:
    """Outlines (M, 2) px and classes of the patches of context, in the order in which they are painted."""
    patches = []
    present = {body.label for body in bodies}
    absent = [label for label in range(len(SCENE)) if label not in present]
    if absent and rng.random() < CONTEXT_ALONE:
        half = rng.uniform(*OBJECT_SIDE) * rng.uniform(*CONTEXT_SIDE[layout]) * side_px / 2
        x, y = rng.uniform(0.15, 0.85, size=2) * side_px
        patches.append((placed(blob_points(rng), Pose(x, y, half, half, 0)), int(rng.choice(absent))))
    for body in reversed(bodies):
        if rng.random() >= CONTEXT[layout]:
            continue
        factor = rng.uniform(*CONTEXT_SIDE[layout])
        half_width, half_height = (np.ptp(body.points, axis=0) / 2 * factor).tolist()
        centre = (body.points.min(axis=0) + body.points.max(axis=0)) / 2
        match layout:
            case SceneLayout.HALO:
                x, y = centre + rng.uniform(-0.1, 0.1, size=2) * body.side
            case SceneLayout.PARTS:
                angle = rng.uniform(0, 2 * math.pi)
                distance = 0.5 * body.side + 0.6 * max(half_width, half_height)
                x, y = centre + distance * np.array([math.cos(angle), math.sin(angle)])
        patches.append((placed(blob_points(rng), Pose(x, y, half_width, half_height, 0)), body.label))
    return patches


def _paint_context(rng: np.random.Generator, canvas: FloatImage, points: NDArray[np.float64], label: int) -> None:
    look = SCENE[label]
    x, y = points.mean(axis=0)
    pattern = _texture(rng, look.context_texture, Pose(x, y, 0, 0, rng.uniform(0, math.pi)), canvas)
    _paint(canvas, coverage(points, *canvas.shape[:2]), look.context, 0.22 * pattern)


def _paint_distractor(rng: np.random.Generator, canvas: FloatImage) -> None:
    side_px = len(canvas)
    look = SCENE[rng.integers(len(SCENE))]
    half = rng.uniform(0.06, 0.2) * side_px
    x, y = rng.uniform(0, side_px, size=2)
    pose = Pose(x, y, half, half * look.aspect, rng.uniform(0, 2 * math.pi))
    _paint_grey(rng, canvas, coverage(placed(outline_points(look.outline), pose), side_px, side_px))
    if rng.random() < 0.5:  # grey things have parts too: a disc as such tells nothing
        _paint_disc(rng, canvas, x, y, half * 0.4, (_grey(rng), _grey(rng)))


def _paint_grey(rng: np.random.Generator, canvas: FloatImage, cover: FloatImage) -> None:
    kind = SCENE[rng.integers(len(SCENE))].texture
    x, y = rng.uniform(0, len(canvas), size=2)
    pattern = _texture(rng, kind, Pose(x, y, 0, 0, rng.uniform(0, math.pi)), canvas)
    _paint(canvas, cover, _grey(rng), 0.18 * pattern)


def _paint_body(rng: np.random.Generator, canvas: FloatImage, body: _Body, layout: SceneLayout) -> None:
    look, pose = SCENE[body.label], body.pose
    any_hue = rng.uniform(0, 360)
    preferred = rng.choice(look.body_hues) + rng.normal(0, 7)
    hue = any_hue if rng.random() < ANY_BODY_HUE else preferred
    colour = _hsv(hue, rng.uniform(0.4, 0.65), rng.uniform(0.5, 0.8))
    _paint(canvas, body.cover, colour, rng.uniform(0.16, 0.3) * _texture(rng, look.texture, pose, canvas))

    radius = rng.uniform(*PART_DIAMETER[layout]) * math.sqrt(pose.half_width * pose.half_height)
    reach = 0.75 * max(
        min(pose.half_width, pose.half_height) - radius, 0
    )  # the disc stays on the body, whatever the outline
    away, direction = reach * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
    x, y = pose.x + away * math.cos(direction), pose.y + away * math.sin(direction)
    _paint_disc(rng, canvas, x, y, radius, look.part, body.cover)


def _paint_disc(
    rng: np.random.Generator,
    canvas: FloatImage,
    x: float,
    y: float,
    radius: float,
    colours: tuple[Colour, Colour],
    within: FloatImage | float = 1.0,
) -> None:
    height, width = canvas.shape[:2]
    circle = outline_points("ellipse")
    for share, colour in zip((1.0, rng.uniform(0.45, 0.6)), colours, strict=True):
        cover = coverage(placed(circle, Pose(x, y, radius * share, radius * share, 0)), height, width)
        _paint(canvas, cover * within, colour, np.zeros((1, 1), np.float32))


def _paint(canvas: FloatImage, cover: FloatImage, colour: Colour, shade: FloatImage) -> None:
    """Lays a colour over the canvas where `cover` says, lighter and darker by the factor 1 + shade (H, W)."""
    paint = (1 + shade)[:, :, None] * np.array(colour, np.float32)
    canvas += cover[:, :, None] * (paint - canvas)


def _texture(rng: np.random.Generator, kind: Texture, pose: Pose, canvas: FloatImage) -> FloatImage:
    height, width = canvas.shape[:2]
    return texture(kind, pose, rng.uniform(0.07, 0.11) * width, rng, height, width)


def _light(rng: np.random.Generator, side_px: int) -> FloatImage:
    """Factors (H, W, 1) around 1: light from one side."""
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.12)
    ramp = np.linspace(-1, 1, side_px, dtype=np.float32)
    light = 1 + strength * (math.cos(angle) * ramp[None, :] + math.sin(angle) * ramp[:, None])
    return light[:, :, None].astype(np.float32)


def _grey(rng: np.random.Generator) -> Colour:
    value = int(rng.integers(60, 200))
    return value, value, value


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
