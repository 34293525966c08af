"""Nuclei that shine in the dark: cultures under a fluorescence microscope, as its camera sees them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from argenseg_model.scenes.drawing import pick
from argenseg_model.scenes.microscope.fields import blur, clouds, fibres
from argenseg_model.scenes.microscope.outlines import Patch, random_outline
from argenseg_model.scenes.microscope.picture import Canvas, MicroscopePicture

_TRIES = 6  # for each nucleus that finds no room, before the culture counts as full
_FOCUS = (0.0, 0.05, 0.13)  # blur of nuclei in, near and out of the focal plane, in diameters


@dataclass(frozen=True)
class Culture:
    """What grows on the slide: sizes in pixels, shares 0..1."""

    diameter: float
    spread: float  # deviation of the diameters, a share of it
    elongation: float  # of the typical nucleus, 1..2.2
    roughness: float
    share: float  # of the picture that is nuclei
    sociable: float  # share of nuclei that settle beside another
    unevenness: float  # deviation of the logarithm of their brightness
    texture: float  # depth of the chromatin's blotches
    spots: float  # chance of bright chromocentres in a nucleus
    nucleoli: float  # chance of dark nucleoli
    dividing: float  # share that is condensed: small and very bright
    out_of_focus: float  # share that lies above or below the focal plane

    @staticmethod
    def any(rng: np.random.Generator, diameter: float | None, share: float | None) -> Culture:
        diameter = float(9 * (55 / 9) ** rng.random()) if diameter is None else diameter
        blotchy = rng.random() < 0.3
        return Culture(
            diameter=diameter,
            spread=_between(rng, 0.08, 0.24),
            elongation=_between(rng, 1.05, 1.7),
            roughness=_between(rng, 0.015, 0.075),
            share=float(0.02 * (0.32 / 0.02) ** rng.random()) if share is None else share,
            sociable=_between(rng, 0.0, 0.75),
            unevenness=_between(rng, 0.08, 0.45),
            texture=_between(rng, 0.2, 0.4) if blotchy else _between(rng, 0.04, 0.2),
            spots=_between(rng, 0.3, 1.0) if blotchy else 0.1,
            nucleoli=0.0 if blotchy else _between(rng, 0.0, 0.9),
            dividing=0.05 if rng.random() < 0.4 else 0.0,
            out_of_focus=_between(rng, 0.1, 0.6) if rng.random() < 0.35 else 0.03,
        )


def draw_fluorescence(
    rng: np.random.Generator,
    height: int = 256,
    width: int = 256,
    *,
    diameter: float | None = None,
    share: float | None = None,
) -> MicroscopePicture:
    """Bright nuclei on a dark ground, touching and clustered ones among them; fully determined by `rng`.

    `diameter`: of a typical nucleus in pixels, about 6..80. `share`: how much of the picture nuclei aim to cover,
    0 (none at all) .. 0.5, as far as they find room. Left out, they vary as they do between microscopes.
    """
    culture = Culture.any(rng, diameter, share)
    canvas = Canvas(height, width)
    _grow(rng, canvas, culture)
    light = _shine(rng, canvas, culture)
    return MicroscopePicture(_photograph(rng, light, culture), canvas.numbered())


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _grow(rng: np.random.Generator, canvas: Canvas, culture: Culture) -> None:
    """Nuclei one by one, until the share is reached or the last of several tries found no room."""
    height, width = canvas.height, canvas.width
    area = np.pi / 4 * culture.diameter**2
    wanted = round(culture.share * height * width / area + (rng.random() - 0.5 if culture.share else 0))
    most_overlap = pick(rng, (0.0, 0.04, 0.1))
    centres: list[tuple[float, float, float]] = []
    for _ in range(max(wanted, 1 if culture.share else 0)):
        for _ in range(_TRIES):
            radius = culture.diameter / 2 * float(np.clip(np.exp(culture.spread * rng.normal()), 0.5, 1.8))
            x, y = rng.random() * width, rng.random() * height
            if centres and rng.random() < culture.sociable:
                x0, y0, other = pick(rng, centres)
                angle, gap = rng.random() * 2 * np.pi, (radius + other) * _between(rng, 0.92, 1.15)
                x, y = x0 + gap * np.cos(angle), y0 + gap * np.sin(angle)
                if not (0 <= x < width and 0 <= y < height):
                    continue
            elongation = 1 + (culture.elongation - 1) * 2 * rng.random()
            outline = random_outline(rng, x, y, radius, elongation=elongation, roughness=culture.roughness)
            if canvas.place(outline, most_overlap):
                centres.append((x, y, radius))
                break


def _shine(rng: np.random.Generator, canvas: Canvas, culture: Culture) -> np.ndarray:
    """(H, W) float32: the light of the nuclei before any lens; that of a typical nucleus is 1."""
    height, width, diameter = canvas.height, canvas.width, culture.diameter
    fine = clouds(rng, height, width, max(diameter * 0.09, 1.2))
    coarse = clouds(rng, height, width, diameter * 0.28)
    chromatin = np.clip(1 + culture.texture * (0.6 * fine + 0.8 * coarse), 0.25, 2.2).astype(np.float32)
    dome = np.float32(_between(rng, 0.0, 0.55))
    piled = np.float32(_between(rng, 0.2, 0.8) if rng.random() < 0.4 else 0.0)  # how far overlapping light adds up
    planes = [np.zeros((height, width), np.float32) for _ in _FOCUS]
    for patch in canvas.placed:
        brightness = float(np.clip(np.exp(culture.unevenness * rng.normal()), 0.2, 3.0))
        body = patch.coverage() * (1 - dome * np.minimum(patch.depth, 1) ** 2) * chromatin[patch.where]
        if rng.random() < culture.dividing:
            brightness, body = brightness * _between(rng, 1.8, 3.5), patch.coverage()
        else:
            body = _speckle(rng, patch, body, culture)
        plane = 0 if rng.random() >= culture.out_of_focus else 1 + (rng.random() < 0.5)
        behind = planes[plane][patch.where]
        body *= np.float32(brightness)
        behind[:] = np.maximum(behind, body) + piled * np.minimum(behind, body)
    return np.asarray(sum(blur(plane, sigma * diameter) for plane, sigma in zip(planes, _FOCUS, strict=True)))


def _speckle(rng: np.random.Generator, patch: Patch, body: np.ndarray, culture: Culture) -> np.ndarray:
    """`body` with chromocentres (bright) or nucleoli (dark), a few pixels at least."""
    radius = patch.outline.radius
    bright, dark = rng.random() < culture.spots, rng.random() < culture.nucleoli
    if radius < 5 or not (bright or dark):
        return body
    rows = np.arange(patch.where[0].start, patch.where[0].stop, dtype=np.float32)[:, None] - np.float32(patch.outline.y)
    columns = np.arange(patch.where[1].start, patch.where[1].stop, dtype=np.float32) - np.float32(patch.outline.x)
    for _ in range(2 + int(rng.random() * 5) if bright else 1 + int(rng.random() * 3)):
        angle, away = rng.random() * 2 * np.pi, radius * 0.6 * np.sqrt(rng.random())
        size = np.float32(radius * _between(rng, 0.1, 0.22))
        square = (rows - away * np.sin(angle)) ** 2 + (columns - away * np.cos(angle)) ** 2
        strength = _between(rng, 0.3, 1.1) if bright else -_between(rng, 0.15, 0.5)
        body = body * (1 + np.float32(strength) * np.exp(-square / (2 * size * size)))
    return body


def _photograph(rng: np.random.Generator, light: np.ndarray, culture: Culture) -> np.ndarray:
    """Lens, stray light, uneven lamp, camera. (H, W) float32 -> (H, W, 3) uint8."""
    height, width = light.shape
    diameter = culture.diameter
    light = blur(light, _between(rng, 0.5, 0.9) + _between(rng, 0.0, 0.03) * diameter)
    light = light + np.float32(_between(rng, 0.01, 0.1)) * blur(light, diameter * _between(rng, 0.5, 1.2))
    ground = 1 + 0.25 * clouds(rng, height, width, max(height, width) * 0.4)
    if rng.random() < 0.35:  # cells around the nuclei shine a little, drawn out as they grow
        strands = fibres(rng, height, width, diameter * 0.35, diameter * 4, rng.random() * np.pi)
        ground = ground + np.maximum(strands - 0.6, 0) * np.float32(_between(rng, 0.2, 0.9))
    light = light + np.float32(_between(rng, 0.0, 0.05)) * np.maximum(ground, 0)
    light = light * _lamp(rng, height, width)
    exposure = 22 * (150 / 22) ** rng.random()  # grey value of a typical nucleus
    photons = 150 * (6000 / 150) ** rng.random()  # of the same
    dark = _between(rng, 0, 12)
    seen = rng.poisson(np.maximum(light, 0) * photons).astype(np.float32) * np.float32(exposure / photons)
    seen += np.float32(_between(rng, 0.1, 0.8)) * rng.standard_normal(seen.shape, dtype=np.float32) + np.float32(dark)
    grey = np.clip(np.rint(seen), 0, 255).astype(np.uint8)
    if rng.random() < 0.06:
        grey = cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 88])[1], cv2.IMREAD_GRAYSCALE)
    tint = pick(rng, ((0.25, 0.45, 1.0), (0.2, 1.0, 0.35))) if rng.random() < 0.06 else (1.0, 1.0, 1.0)
    return np.stack([np.rint(grey * share).astype(np.uint8) for share in tint], axis=2)


def _lamp(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W) float32 about 1: brightest somewhere, darker away from there."""
    x0, y0 = rng.random(2)
    fall = np.float32(_between(rng, 0.0, 0.45))
    x, y = np.linspace(0, 1, width, dtype=np.float32) - x0, np.linspace(0, 1, height, dtype=np.float32) - y0
    return np.asarray(1 - fall * np.minimum(x[None, :] ** 2 + y[:, None] ** 2, 1.2), np.float32)
