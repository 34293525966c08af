"""Drawn scenes: a background and a few coloured shapes, whose visible pixels are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TypeVar

import cv2
import numpy as np

from argenseg_model.scenes.shapes import draw_coverage
from argenseg_model.scenes.vocabulary import COLOURS, SHAPES

T = TypeVar("T")

cv2.setNumThreads(1)  # the pictures are small: threads would only fight with the training that waits for them

LEVELS = (0, 1, 2, 3)
_OBJECT_COUNTS = {0: (1, 1), 1: (2, 4), 2: (2, 5), 3: (1, 6)}  # level -> fewest, most
# Radius of the circumscribed circle, as a share of the side. The gaps keep "small" and "large" beyond doubt.
_RADII = {"small": (0.075, 0.105), "medium": (0.125, 0.165), "large": (0.205, 0.29)}
_COLOUR_JITTER = 14  # RGB steps to either side, for bright true colours
_GREY_JITTER = 6  # for white, gray and black, which a tint would make doubtful
_LEAST_CONTRAST = 85.0  # RGB distance between an object and what lies behind it
_LEAST_VISIBLE = 0.65  # share of an object that others must leave visible
_SHAPE_NAMES, _COLOUR_NAMES, _GREYS = tuple(SHAPES), tuple(COLOURS), ("white", "gray", "black")
_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)  # a byte -> normal noise


@dataclass(frozen=True)
class SceneObject:
    shape: str  # key of SHAPES
    colour: str  # key of COLOURS
    shade: str  # key of COLOURS[colour]
    size: str  # "small", "medium" or "large"
    x: float  # centre, 0 (left) .. 1 (right)
    y: float  # centre, 0 (top) .. 1 (bottom)
    mask: np.ndarray  # (side, side) bool, its visible pixels

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True)
class Scene:
    image: np.ndarray  # (side, side, 3) uint8, RGB
    objects: tuple[SceneObject, ...]  # from back to front

    def union(self, objects: list[SceneObject] | tuple[SceneObject, ...]) -> np.ndarray:
        """(side, side) bool: the visible pixels of `objects`."""
        mask = np.zeros(self.image.shape[:2], bool)
        for scene_object in objects:
            mask |= scene_object.mask
        return mask


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """One of `choices`; several times faster than rng.choice on short sequences."""
    return choices[int(rng.random() * len(choices))]


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


@lru_cache(maxsize=4)
def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    return axis[None, :], axis[:, None]


def _texture(rng: np.random.Generator, side: int) -> np.ndarray:
    """(side, side) float32 in 0..1: where the background has its first and where its second colour."""
    x, y = _grid(side)
    angle = rng.random() * 2 * np.pi
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))  # -1.4 .. 1.4
    kind = rng.random()
    if kind < 0.30:  # plain
        return np.zeros((side, side), np.float32)
    if kind < 0.50:  # gradient
        return along * 0.35 + 0.5
    if kind < 0.72:  # blotches
        blotches = int(_between(rng, 3, 17))
        coarse = rng.random((blotches, blotches), dtype=np.float32)
        return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
    if kind < 0.82:  # stripes
        return np.sin(along * np.float32(_between(rng, 6, 40))) * 0.5 + 0.5
    if kind < 0.90:  # checkers
        cells = _between(rng, 2, 8)
        return ((np.floor(x * cells) + np.floor(y * cells)) % 2).astype(np.float32)
    return (x * x + y * y) * 0.5  # vignette


def _background_colours(rng: np.random.Generator) -> np.ndarray:
    """(2, 3) float32: the two RGB colours of a background, close to each other."""
    kind = rng.random()
    if kind < 0.3:  # dark
        first = rng.random(3) * 45
    elif kind < 0.6:  # light
        first = 205 + rng.random(3) * 50
    elif kind < 0.8:  # grey of any brightness
        first = rng.random() * 255 + rng.random(3) * 16 - 8
    else:  # any colour
        first = rng.random(3) * 255
    second = first + (rng.random() * 90 - 45) + (rng.random(3) * 30 - 15)
    return np.clip(np.stack([first, second]), 0, 255).astype(np.float32)


def _contrasting_colour(
    rng: np.random.Generator, families: Sequence[str], backgrounds: np.ndarray
) -> tuple[str, str, np.ndarray] | None:
    """(family, shade, RGB) that stands out from every one of `backgrounds`, or None after a few tries."""
    for _ in range(6):
        family = pick(rng, families)
        shades = COLOURS[family]
        shade = family if rng.random() < 0.6 else pick(rng, list(shades))
        jitter = _GREY_JITTER if family in _GREYS else _COLOUR_JITTER * (0.4 + 0.6 / 255 * max(shades[shade]))
        rgb = np.clip(np.array(shades[shade]) + (rng.random(3) * 2 - 1) * jitter, 0, 255).astype(np.float32)
        if np.sqrt(((backgrounds - rgb) ** 2).sum(axis=1)).min() >= _LEAST_CONTRAST:
            return family, shade, rgb
    return None


@dataclass
class _Placed:
    shape: str
    colour: str
    shade: str
    size: str
    rgb: np.ndarray
    x: float  # pixels, like y and radius
    y: float
    radius: float
    visible: np.ndarray
    full_area: int


def _place_object(
    rng: np.random.Generator, placed: list[_Placed], backgrounds: np.ndarray, side: int, crowded: bool
) -> tuple[_Placed, slice, slice, np.ndarray] | None:
    """A new object with its rows, columns and coverage, or None where none fits.

    Objects often share a colour or a shape with an earlier one: a prompt then needs both words to tell them apart.
    """
    shape, colours = pick(rng, _SHAPE_NAMES), _COLOUR_NAMES
    if placed and rng.random() < 0.5:
        like = pick(rng, placed)
        shape, colours = (like.shape, colours) if rng.random() < 0.5 else (shape, (like.colour,))
    colour = _contrasting_colour(rng, colours, backgrounds)
    if colour is None:
        return None
    family, shade, rgb = colour
    size = pick(rng, ("small", "medium", "medium", "large") if len(placed) < 3 else ("small", "small", "medium"))
    if size == "small" and shape in ("hexagon", "ring") and rng.random() < 0.6:
        size = "medium"  # their outlines blur when small
    radius = _between(rng, *_RADII[size]) * side
    for _ in range(10):
        x, y = radius + rng.random(2) * (side - 2 * radius)
        for other in placed:
            alike = other.colour == family or np.abs(other.rgb - rgb).sum() < _LEAST_CONTRAST
            spacing = 1.05 if alike else 0.8 if crowded else 0.97
            if np.hypot(x - other.x, y - other.y) < spacing * (radius + other.radius):
                break
        else:
            break
    else:
        return None
    rows, columns, coverage = draw_coverage(shape, radius, x, y, side, rng)
    visible = np.zeros((side, side), bool)
    visible[rows, columns] = coverage >= 128
    near = [other for other in placed if np.hypot(x - other.x, y - other.y) < radius + other.radius + 2]
    remaining = [other.visible & ~visible for other in near]
    if any(np.count_nonzero(r) < _LEAST_VISIBLE * o.full_area for r, o in zip(remaining, near, strict=True)):
        return None
    for other, mask in zip(near, remaining, strict=True):
        other.visible = mask
    new = _Placed(shape, family, shade, size, rgb, float(x), float(y), radius, visible, int(np.count_nonzero(visible)))
    return new, rows, columns, coverage


def draw_scene(rng: np.random.Generator, side: int = 128, level: int = 3) -> Scene:
    """One scene, fully determined by the state of `rng`.

    `level` is the curriculum: 0 one object, 1 two to four, 2 two to five, 3 one to six. At least one object is there.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {LEVELS}, got {level!r}")
    fewest, most = _OBJECT_COUNTS[level]
    wanted = fewest + int(rng.random() * (most - fewest + 1))
    placed: list[_Placed] = []
    while not placed:  # a background may leave no room for the first colour picked
        backgrounds = _background_colours(rng)
        texture = _texture(rng, side)
        image = cv2.merge([texture * (second - first) + first for first, second in backgrounds.T])  # (side, side, 3)
        crowded = wanted > 1 and rng.random() < 0.3
        shaded, outlined = rng.random() < 0.3, rng.random() < 0.12
        for _ in range(2 * wanted):
            new = _place_object(rng, placed, backgrounds, side, crowded)
            if new is None:
                continue
            scene_object, rows, columns, coverage = new
            _paint(rng, image[rows, columns], coverage, scene_object.rgb, shaded, outlined)
            placed.append(scene_object)
            if len(placed) == wanted:
                break
    objects = tuple(SceneObject(p.shape, p.colour, p.shade, p.size, p.x / side, p.y / side, p.visible) for p in placed)
    return Scene(_photograph(rng, image), objects)


def _paint(
    rng: np.random.Generator, patch: np.ndarray, coverage: np.ndarray, rgb: np.ndarray, shaded: bool, outlined: bool
) -> None:
    """Blend one object into `patch` (h, w, 3) float32, in place."""
    paint = np.broadcast_to(rgb, patch.shape)
    if shaded:
        x, y = np.linspace(-1, 1, patch.shape[1])[None, :, None], np.linspace(-1, 1, patch.shape[0])[:, None, None]
        angle = rng.random() * 2 * np.pi
        paint = paint * (1 + 0.13 * (x * np.cos(angle) + y * np.sin(angle))).astype(np.float32)
    if outlined:
        inside = cv2.erode(coverage, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=255)
        paint = paint * (0.7 + 0.3 * inside[:, :, None].astype(np.float32) / 255)
    patch += coverage[:, :, None].astype(np.float32) * np.float32(1 / 255) * (paint - patch)


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The picture as a camera may give it: light blur, noise, JPEG traces. (side, side, 3) float32 -> uint8."""
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (3, 3), _between(rng, 0.4, 0.9))
    if rng.random() < 0.6:
        noise = rng.integers(0, 256, image.shape, dtype=np.uint8)
        image = image + _NORMAL[noise] * np.float32(_between(rng, 1, 9))
    picture = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.08:
        quality = int(_between(rng, 60, 95))
        jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
    return picture
