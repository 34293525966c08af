"""Outlines of nuclei: ovals with smooth dents, bent or not, at any place of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

_WAVES = np.arange(2, 7)  # how often the radius swings around the outline; 1 would only shift the nucleus
_STEPS = 128  # of a turn, in which an outline's radius is looked up: summing waves pixel by pixel would be the dearest
_SWINGS = np.linspace(-np.pi, np.pi, _STEPS + 1)[:, None] * _WAVES
_COSINES, _SINES = np.cos(_SWINGS), np.sin(_SWINGS)
_PADDING = 1.35  # a patch reaches this many radii: blur and halo need what lies just outside


@dataclass(frozen=True)
class Outline:
    """x, y, radii in pixels, pixel centres at whole numbers; `turn` in radians.

    `long` is the radius along the turned x axis, `short` the one across it. `bend` 0..0.6 makes a bean of an oval.
    """

    x: float
    y: float
    long: float
    short: float
    turn: float
    waves: np.ndarray  # (len(_WAVES), 2) float: cosine and sine share of each swing of the radius
    bend: float = 0.0

    @property
    def radius(self) -> float:
        return float(np.sqrt(self.long * self.short))

    def patch(self, height: int, width: int) -> Patch:
        """The part of a height x width picture that the outline and its surroundings lie in; empty if outside."""
        reach = _PADDING * max(self.long, self.short) + 3
        top, left = (min(max(int(at - reach), 0), size) for at, size in ((self.y, height), (self.x, width)))
        bottom, right = (min(max(int(at + reach) + 1, 0), size) for at, size in ((self.y, height), (self.x, width)))
        where = (slice(top, max(bottom, top)), slice(left, max(right, left)))
        down = np.arange(top, max(bottom, top), dtype=np.float32)[:, None] - np.float32(self.y)
        across = np.arange(left, max(right, left), dtype=np.float32)[None, :] - np.float32(self.x)
        cosine, sine = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        u = (across * cosine + down * sine) / np.float32(self.long)
        v = (down * cosine - across * sine) / np.float32(self.short)
        if self.bend:
            v = v + np.float32(self.bend) * (u * u - np.float32(0.3))
        return Patch(self, where, np.hypot(u, v) / self._swing(np.arctan2(v, u)))

    def _swing(self, angle: np.ndarray) -> np.ndarray:
        """The radius in each direction, about 1."""
        table = (1 + _COSINES @ self.waves[:, 0] + _SINES @ self.waves[:, 1]).astype(np.float32)
        return table[((angle + np.float32(np.pi)) * np.float32(_STEPS / (2 * np.pi)) + 0.5).astype(np.intp)]


@dataclass(frozen=True)
class Patch:
    """Where in the picture a nucleus lies. `depth` (h, w) float32: 0 at its centre, 1 on its outline, more outside."""

    outline: Outline
    where: tuple[slice, slice]
    depth: np.ndarray

    @cached_property
    def area(self) -> int:
        """Pixels within the outline."""
        return int(np.count_nonzero(self.depth <= 1))

    def coverage(self, softness: float = 1.0) -> np.ndarray:
        """(h, w) float32 in 0..1: how much of each pixel is nucleus; the edge is about `softness` pixels wide."""
        return np.clip((1 - self.depth) * np.float32(self.outline.radius / softness) + np.float32(0.5), 0, 1)


def random_outline(
    rng: np.random.Generator, x: float, y: float, radius: float, *,
    elongation: float = 1.25, roughness: float = 0.05, turn: float | None = None,
) -> Outline:  # fmt: skip
    """A nucleus of about `radius` pixels: `elongation` 1 round .. 4 spindle; `roughness` 0 oval .. 0.1 lobed.

    `turn` in radians; None: any.
    """
    stretch = np.sqrt(elongation)
    waves = rng.normal(size=(len(_WAVES), 2)) * (roughness * (2 / _WAVES) ** 1.6)[:, None]
    bend = rng.random() * 0.35 if elongation > 1.15 and rng.random() < 0.35 else 0.0
    turned = rng.random() * np.pi if turn is None else turn
    return Outline(x, y, radius * stretch, radius / stretch, turned, np.clip(waves, -0.2, 0.2), bend)
