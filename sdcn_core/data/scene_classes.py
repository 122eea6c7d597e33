"""The six classes of the scenes: what is constant about each (the colours of its part) and what varies (its body).

Colours are RGB in [0, 255], hues degrees. The part's two colours are of one class only and never vary; the body takes
one of two hues that no other class prefers, or any; its outline and texture are the class's, at any size, turned a bit.
"""

from dataclasses import dataclass
from typing import Literal

Colour = tuple[int, int, int]
Outline = Literal["ellipse", "clover", "diamond", "barrel", "shield", "gear"]
Texture = Literal["speckles", "dots", "bands", "checks", "rings", "waves"]


@dataclass(frozen=True)
class SceneClass:
    """How the objects of one class look."""

    name: str
    outline: Outline
    aspect: float
    """height over width of the body before it is turned"""
    texture: Texture
    body_hues: tuple[int, int]
    part: tuple[Colour, Colour]
    """rim and core of the disc"""
    context: Colour
    """of the patch that keeps the class company"""
    context_texture: Texture
    background: Colour


SCENE = (
    SceneClass(
        name="beetle",
        outline="ellipse",
        aspect=0.68,
        texture="speckles",
        body_hues=(5, 155),
        part=((226, 34, 46), (250, 236, 110)),
        context=(72, 92, 40),
        context_texture="waves",
        background=(171, 178, 150),
    ),
    SceneClass(
        name="clover",
        outline="clover",
        aspect=1.0,
        texture="dots",
        body_hues=(65, 215),
        part=((30, 66, 222), (240, 244, 250)),
        context=(112, 72, 50),
        context_texture="speckles",
        background=(182, 163, 146),
    ),
    SceneClass(
        name="kite",
        outline="diamond",
        aspect=1.3,
        texture="bands",
        body_hues=(125, 275),
        part=((222, 30, 196), (176, 246, 64)),
        context=(56, 92, 132),
        context_texture="dots",
        background=(150, 170, 190),
    ),
    SceneClass(
        name="lantern",
        outline="barrel",
        aspect=1.4,
        texture="checks",
        body_hues=(185, 335),
        part=((252, 136, 18), (24, 22, 88)),
        context=(84, 56, 116),
        context_texture="rings",
        background=(170, 156, 186),
    ),
    SceneClass(
        name="shield",
        outline="shield",
        aspect=1.15,
        texture="waves",
        body_hues=(245, 35),
        part=((14, 158, 58), (255, 176, 206)),
        context=(136, 112, 62),
        context_texture="checks",
        background=(190, 182, 150),
    ),
    SceneClass(
        name="sprocket",
        outline="gear",
        aspect=1.0,
        texture="rings",
        body_hues=(305, 95),
        part=((22, 206, 214), (122, 8, 34)),
        context=(46, 104, 96),
        context_texture="bands",
        background=(150, 180, 172),
    ),
)
"""class index -> look"""

SCENE_CLASSES = tuple(look.name for look in SCENE)
