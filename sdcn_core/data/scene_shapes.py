"""Outlines and textures of the scenes. H x W is the picture; all coordinates are px, x right, y down."""

import math
from dataclasses import dataclass
from typing import assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.scene_classes import Outline, Texture

FloatImage = NDArray[np.float32]
SUPERSAMPLING = 3
"""Edges are drawn this many times finer and averaged."""
_POINTS = 72


@dataclass(frozen=True)
class Pose:
    """Where a shape lies: centre, half width and half height before it is turned, px, and by how much, radians."""

    x: float
    y: float
    half_width: float
    half_height: float
    angle: float


def outline_points(outline: Outline) -> NDArray[np.float64]:
    """The outline around 0 as (M, 2) xy, within [-1, 1] in both directions."""
    theta = np.linspace(0, 2 * math.pi, _POINTS, endpoint=False)
    circle = np.stack([np.cos(theta), np.sin(theta)], axis=1)  # (M, 2)
    match outline:
        case "ellipse":
            points = circle
        case "clover":
            points = circle * (1 + 0.32 * np.cos(4 * theta))[:, None]
        case "diamond":
            points = circle / np.abs(circle).sum(axis=1, keepdims=True)
        case "barrel":  # a superellipse: a rounded box
            points = circle / (np.abs(circle) ** 5).sum(axis=1, keepdims=True) ** 0.2
        case "shield":
            drop = np.clip(circle[:, 1], 0, None)
            points = circle / np.abs(circle).max(axis=1, keepdims=True)
            points[:, 0] *= 1 - 0.75 * drop**2
        case "gear":
            points = circle * (1 + 0.16 * np.tanh(4 * np.sin(8 * theta)))[:, None]
        case _:
            assert_never(outline)
    return points / np.abs(points).max(axis=0)


def blob_points(rng: np.random.Generator) -> NDArray[np.float64]:
    """A random smooth closed outline around 0 as (M, 2) xy, within [-1, 1]."""
    theta = np.linspace(0, 2 * math.pi, _POINTS, endpoint=False)
    radius = np.ones(_POINTS)
    for frequency in (2, 3, 4):
        radius += rng.uniform(0, 0.16) * np.cos(frequency * theta + rng.uniform(0, 2 * math.pi))
    points = radius[:, None] * np.stack([np.cos(theta), np.sin(theta)], axis=1)
    return points / np.abs(points).max(axis=0)


def placed(points: NDArray[np.float64], pose: Pose) -> NDArray[np.float64]:
    """Points (M, 2) of an outline within [-1, 1], turned and moved to the pose, px."""
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    scaled = points * (pose.half_width, pose.half_height)
    return scaled @ np.array([[cos, sin], [-sin, cos]]) + (pose.x, pose.y)


def coverage(points: NDArray[np.float64], height: int, width: int) -> FloatImage:
    """How much of each pixel lies within the outline (M, 2) px: (H, W) in [0, 1]."""
    fine = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    corners = np.rint((points * SUPERSAMPLING - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(fine, [corners], 255, shift=4)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def texture(
    kind: Texture, pose: Pose, period_px: float, rng: np.random.Generator, height: int, width: int
) -> FloatImage:
    """A pattern (H, W) in [-1, 1] that turns with the pose; `period_px` is the distance at which it repeats."""
    x = np.arange(width, dtype=np.float32)[None, :] + np.float32(0.5 - pose.x)
    y = np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5 - pose.y)
    wave_number = np.float32(2 * math.pi / period_px)
    cos, sin = np.float32(math.cos(pose.angle)), np.float32(math.sin(pose.angle))
    u, v = (cos * x + sin * y) * wave_number, (cos * y - sin * x) * wave_number  # (H, W)
    match kind:
        case "speckles":
            grain = rng.standard_normal((height, width), np.float32)
            pattern = cv2.GaussianBlur(grain, (0, 0), period_px / 5)
            pattern *= 1.6 / max(float(pattern.std()), 1e-6)
        case "dots":
            pattern = 6 * (np.cos(u) + np.cos(v) - 0.9)
        case "bands":
            pattern = 4 * np.sin(v)
        case "checks":
            pattern = 6 * np.sin(u) * np.sin(v)
        case "rings":
            pattern = 4 * np.cos(np.sqrt(u * u + v * v))
        case "waves":
            pattern = 4 * np.sin(v + 1.2 * np.sin(0.8 * u))
        case _:
            assert_never(kind)
    return np.clip(pattern, -1, 1)
