"""Stained tissue in transmitted light: purple nuclei in pink stroma, glands around a lumen, free cells."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from argenseg_model.scenes.drawing import pick
from argenseg_model.scenes.microscope.fields import blur, clouds, fibres
from argenseg_model.scenes.microscope.outlines import random_outline
from argenseg_model.scenes.microscope.picture import Canvas, MicroscopePicture

# Absorbance of red, green and blue by the stains (Ruifrok and Johnston 2001, colour deconvolution).
_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
_EOSIN = np.array([0.07, 0.99, 0.11], np.float32)
_DAB = np.array([0.27, 0.57, 0.78], np.float32)  # the brown of antibodies
_FOCUS = (0.0, 0.1)  # blur of nuclei in and beside the focal plane, in diameters


@dataclass(frozen=True)
class CellKind:
    """How the nuclei of one kind look; `size` in typical diameters, `dye` is the haematoxylin that they take up."""

    size: tuple[float, float]
    elongation: tuple[float, float]
    roughness: float
    dye: tuple[float, float]
    pale: float  # 0 filled evenly .. 0.7 pale within a dark rim


_EPITHELIAL = CellKind((0.85, 1.2), (1.2, 2.2), 0.035, (0.7, 1.5), 0.5)
_SPINDLE = CellKind((0.6, 0.95), (2.2, 4.5), 0.05, (0.7, 1.6), 0.2)
_ROUND = CellKind((0.5, 0.75), (1.0, 1.25), 0.05, (1.3, 2.4), 0.1)
_LARGE = CellKind((1.0, 1.5), (1.1, 1.6), 0.07, (0.5, 1.1), 0.65)


@dataclass(frozen=True)
class _Stain:
    haematoxylin: np.ndarray  # (3,) absorbance of red, green, blue
    other: np.ndarray  # of eosin, or of the brown marker in its place
    lamp: np.ndarray  # (3,) 0..255, where nothing absorbs
    ground: float  # haematoxylin that the tissue takes up beside its nuclei
    depth: float  # of the other stain in the tissue


def draw_tissue(
    rng: np.random.Generator,
    height: int = 256,
    width: int = 256,
    *,
    diameter: float | None = None,
    brown: bool | None = None,
) -> MicroscopePicture:
    """Dark nuclei in lighter tissue, with glands, stroma and empty places; fully determined by `rng`.

    `diameter`: of a typical nucleus in pixels, about 8..60. `brown`: whether an antibody marks cells brown, often
    darker than the nuclei are blue (immunohistochemistry), in the place of pink. Left out, both vary as they do between
    laboratories.
    """
    diameter = float(14 * (38 / 14) ** rng.random()) if diameter is None else diameter
    flow = rng.random() * np.pi
    lumen = _lumen(rng, height, width, diameter)
    kinds: list[CellKind] = []
    canvas = Canvas(height, width)
    _line_the_lumen(rng, canvas, kinds, lumen, diameter)
    _fill(rng, canvas, kinds, lumen, diameter, flow)
    is_brown = rng.random() < 0.2 if brown is None else brown
    stain = _brown_stain(rng) if is_brown else _any_stain(rng)
    tissue = _stroma(rng, height, width, diameter, flow) * blur((lumen > 0).astype(np.float32), diameter * 0.08)
    dye, cytoplasm = _dye(rng, canvas, kinds, diameter)
    if is_brown:
        other = stain.depth * tissue * _marked(rng, cytoplasm, diameter)
    else:
        other = stain.depth * tissue * (1 + cytoplasm) + _red_cells(rng, canvas, lumen, diameter)
    haematoxylin = dye + stain.ground * tissue * (1 + 0.5 * cytoplasm)
    return MicroscopePicture(_photograph(rng, haematoxylin, other, stain), canvas.numbered())


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _lumen(rng: np.random.Generator, height: int, width: int, diameter: float) -> np.ndarray:
    """(H, W) float32: pixels from the nearest empty place, negative inside one; large where there is none."""
    level = 0.9 + rng.random() * 1.2 if rng.random() < 0.7 else np.inf
    field = clouds(rng, height, width, diameter * _between(rng, 5, 11))
    tissue = (field < level).astype(np.uint8)
    if tissue.all():
        return np.full((height, width), 1e4, np.float32)
    outside = cv2.distanceTransform(tissue, cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(1 - tissue, cv2.DIST_L2, 5)
    return blur(outside - inside, 2.0)


def _line_the_lumen(
    rng: np.random.Generator, canvas: Canvas, kinds: list[CellKind], lumen: np.ndarray, diameter: float
) -> None:
    """A row of epithelial nuclei at the edge of each empty place, their long axes across it."""
    away = diameter * _between(rng, 0.7, 1.0)
    rows, columns = np.nonzero(np.abs(lumen - away) < 1)
    if not len(rows) or rng.random() < 0.25:
        return
    down, across = np.gradient(blur(lumen, 3.0))
    elongation = _between(rng, 1.1, 2.2)
    for index in rng.permutation(len(rows))[: int(len(rows) / diameter * 3)]:
        y, x = int(rows[index]), int(columns[index])
        turn = float(np.arctan2(down[y, x], across[y, x])) + rng.normal() * 0.15
        size = diameter / 2 * _between(rng, *_EPITHELIAL.size)
        outline = random_outline(rng, x, y, size, elongation=elongation, roughness=0.035, turn=turn)
        if canvas.place(outline, 0.06):
            kinds.append(_EPITHELIAL)


def _fill(
    rng: np.random.Generator, canvas: Canvas, kinds: list[CellKind], lumen: np.ndarray, diameter: float, flow: float
) -> None:
    """The rest of the tissue: one kind of cell mostly, crowded in some places and rare in others."""
    height, width = lumen.shape
    usual = pick(rng, (_EPITHELIAL, _SPINDLE, _ROUND, _LARGE, _ROUND))
    crowd = clouds(rng, height, width, diameter * _between(rng, 4, 10))
    share = _between(rng, 0.06, 0.4)
    for _ in range(int(share * height * width / (0.4 * diameter**2)) + 2):
        kind = usual if rng.random() < 0.75 else pick(rng, (_EPITHELIAL, _SPINDLE, _ROUND))
        x, y = rng.random() * width, rng.random() * height
        radius = diameter / 2 * _between(rng, *kind.size)
        row, column = int(y), int(x)
        if lumen[row, column] < radius or crowd[row, column] < rng.normal() * 0.7 - 0.4:
            continue
        turn = flow + rng.normal() * (0.2 if kind is _SPINDLE else 1.5)
        elongation = _between(rng, *kind.elongation)
        outline = random_outline(rng, x, y, radius, elongation=elongation, roughness=kind.roughness, turn=turn)
        if canvas.place(outline, 0.08):
            kinds.append(kind)
        if canvas.share > share:
            return


def _stroma(rng: np.random.Generator, height: int, width: int, diameter: float, flow: float) -> np.ndarray:
    """(H, W) float32 about 1: how thick the tissue is, in wavy strands."""
    strands = fibres(rng, height, width, diameter * _between(rng, 0.12, 0.3), diameter * 2, flow)
    coarse, fine = clouds(rng, height, width, diameter * 2.5), clouds(rng, height, width, 2.5)
    depth = _between(rng, 0.03, 0.2)
    thickness = 1 + depth * strands + 0.12 * coarse + _between(rng, 0.03, 0.12) * fine
    return np.clip(thickness, 0.1, 2).astype(np.float32)


def _red_cells(rng: np.random.Generator, canvas: Canvas, lumen: np.ndarray, diameter: float) -> np.ndarray:
    """(H, W) float32: eosin of red blood cells, which have no nucleus, in some pictures and where no nucleus lies."""
    height, width = lumen.shape
    eosin = np.zeros((height, width), np.float32)
    if rng.random() < 0.65:
        return eosin
    for _ in range(int(rng.random() * 0.12 * height * width / diameter**2)):
        x, y = rng.random() * width, rng.random() * height
        disc = random_outline(rng, x, y, diameter * _between(rng, 0.3, 0.38), elongation=1.1, roughness=0.03)
        patch = disc.patch(height, width)
        free = canvas.instances[patch.where] == 0
        paint = np.float32(_between(rng, 0.25, 0.5)) * patch.coverage(1.5) * (0.7 + 0.3 * patch.depth)
        np.maximum(eosin[patch.where], paint * free, out=eosin[patch.where])
    return blur(eosin, 1.0)


def _dye(
    rng: np.random.Generator, canvas: Canvas, kinds: list[CellKind], diameter: float
) -> tuple[np.ndarray, np.ndarray]:
    """Haematoxylin of the nuclei, and how much cytoplasm lies around them; both (H, W) float32."""
    height, width = canvas.height, canvas.width
    fine = clouds(rng, height, width, max(diameter * 0.1, 1.2))
    coarse = clouds(rng, height, width, diameter * 0.22)
    depth = _between(rng, 0.1, 0.3)
    chromatin = np.clip(1 + depth * (fine + coarse), 0.2, 2.2).astype(np.float32)
    planes = [np.zeros((height, width), np.float32) for _ in _FOCUS]
    cytoplasm = np.zeros((height, width), np.float32)
    out_of_focus = _between(rng, 0.05, 0.5)
    for patch, kind in zip(canvas.placed, kinds, strict=True):
        strength = np.float32(_between(rng, *kind.dye) * np.exp(0.15 * rng.normal()))
        depths = np.minimum(patch.depth, 1)
        rim = 1 - np.float32(kind.pale) * (1 - depths**3)
        plane = planes[int(rng.random() < out_of_focus)][patch.where]
        np.maximum(plane, strength * patch.coverage(1.4) * rim * chromatin[patch.where], out=plane)
        around = cytoplasm[patch.where]
        np.maximum(around, np.float32(rng.random()) * np.clip(2.2 - patch.depth * 1.6, 0, 1), out=around)
    dye = np.asarray(sum(blur(plane, sigma * diameter) for plane, sigma in zip(planes, _FOCUS, strict=True)))
    return dye, 0.4 * blur(cytoplasm, diameter * 0.08)


def _marked(rng: np.random.Generator, cytoplasm: np.ndarray, diameter: float) -> np.ndarray:
    """(H, W) float32 in 0..about 2: the brown marker, in patches, around nuclei and along cells' borders, in grains."""
    height, width = cytoplasm.shape
    patches = np.clip(1.5 * clouds(rng, height, width, diameter * _between(rng, 2, 6)) + _between(rng, -0.3, 0.9), 0, 1)
    borders = np.exp(-((clouds(rng, height, width, diameter * 0.8) / 0.3) ** 2))  # where smooth noise crosses zero
    grains = np.clip(1 + 0.3 * clouds(rng, height, width, 2.2), 0.2, 2)
    return np.asarray(patches * grains * (0.3 + 1.5 * cytoplasm + 0.7 * borders), np.float32)


def _brown_stain(rng: np.random.Generator) -> _Stain:
    """A pale blue counterstain beside a brown marker."""
    haematoxylin = np.clip(_HAEMATOXYLIN + rng.normal(size=3) * (0.06, 0.05, 0.06), 0.05, 1.2).astype(np.float32)
    marker = np.clip(_DAB + rng.normal(size=3) * (0.04, 0.04, 0.06), 0.05, 1.2).astype(np.float32)
    lamp = np.clip(_between(rng, 228, 250) + rng.normal(size=3) * 4, 200, 255).astype(np.float32)
    return _Stain(0.8 * haematoxylin, marker, lamp, _between(rng, 0.02, 0.15), _between(rng, 0.5, 1.5))


def _any_stain(rng: np.random.Generator) -> _Stain:
    """Colours as laboratories differ: haematoxylin and eosin, mostly purple, or purple on a clear ground."""
    haematoxylin = np.clip(_HAEMATOXYLIN + rng.normal(size=3) * (0.08, 0.05, 0.08), 0.05, 1.2).astype(np.float32)
    haematoxylin += np.float32(0.35 * rng.random() ** 2) * (_EOSIN - _HAEMATOXYLIN) * (1, 0.6, 0)  # towards magenta
    eosin = np.clip(_EOSIN + rng.normal(size=3) * (0.05, 0.05, 0.07), 0.02, 1.2).astype(np.float32)
    lamp = np.clip(_between(rng, 222, 250) + rng.normal(size=3) * 5, 200, 255).astype(np.float32)
    look = rng.random()
    if look < 0.55:  # pink tissue
        return _Stain(haematoxylin, eosin, lamp, _between(rng, 0.02, 0.2), _between(rng, 0.15, 0.5))
    if look < 0.8:  # lilac
        return _Stain(haematoxylin, eosin, lamp, _between(rng, 0.3, 0.5), _between(rng, 0.05, 0.2))
    return _Stain(haematoxylin, eosin, lamp, _between(rng, 0.0, 0.06), _between(rng, 0.02, 0.12))  # clear


def _photograph(rng: np.random.Generator, haematoxylin: np.ndarray, other: np.ndarray, stain: _Stain) -> np.ndarray:
    """Light falls off exponentially with dye (Beer-Lambert). Two (H, W) float32 -> (H, W, 3) uint8."""
    absorbed = haematoxylin[..., None] * stain.haematoxylin + other[..., None] * stain.other
    seen = blur(stain.lamp * np.exp(-absorbed), _between(rng, 0.5, 1.0))
    seen += np.float32(_between(rng, 0.5, 2.5)) * rng.standard_normal(seen.shape, dtype=np.float32)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)
