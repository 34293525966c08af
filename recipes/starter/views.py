"""Augmented square views of pictures, as the model sees them: the whole picture or a part, turned, exposed anew."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recipes.starter.nuclei import expose, stain, tissue
from recipes.starter.pictures import NUCLEI, Picture

SIDE = 256
TURNED = frozenset({NUCLEI, "building", "embryo", "granule", "mushroom", "particles"})
"""Sets that have no up and down."""
SMALL = frozenset({"building", "breadboard", "car_damage", "embryo", "facade", "granule", "mushroom", "particles",
                   "seedling", "tree", NUCLEI})  # fmt: skip
"""Sets whose things are small: they are also looked at closely."""


@dataclass(frozen=True)
class View:
    """What is kept of a view beside its features.

    Attributes:
        set: of its picture; "scene" for a drawn one.
        objects: by name, (SIDE, SIDE) uint16, packed: 0 elsewhere, the objects' numbers.
        brightness: by name, an object's number -> its mean grey value.
        is_stained: nuclei drawn as an absorbing stain.
        is_whole: nothing of the picture was cut off.
        asked: of a scene, (prompt, packed soft mask (64, 64) uint8) each.
        seen: of a scene, packed bits (len(SEEN), 64, 64).
    """

    set: str
    objects: dict[str, bytes]
    brightness: dict[str, dict[int, float]]
    is_stained: bool = False
    is_whole: bool = True
    asked: tuple[tuple[str, bytes], ...] = ()
    seen: bytes = b""

    def labels(self, name: str) -> NDArray[np.uint16]:
        """(SIDE, SIDE): the objects of a name."""
        return np.frombuffer(zlib.decompress(self.objects[name]), np.uint16).reshape(SIDE, SIDE)


def make_view(
    rng: np.random.Generator,
    picture: Picture,
    is_plain: bool = False,
    around: str | None = None,
    look: str | None = None,
) -> tuple[NDArray[np.uint8], View]:
    """The picture (SIDE, SIDE, 3) of a view, and what is kept beside it; a plain one is the whole picture as it is.

    `around` is a name whose objects the view is cut around at four times of five; `look` "tissue" draws
    bright nuclei as if stained with haematoxylin and eosin, "stained" takes a picture of stained ones as it is.
    """
    height, width = picture.image.shape[:2]
    x0, y0, w, h = 0, 0, width, height
    is_whole = is_plain or rng.random() < (0.2 if around else 0.35)
    if not is_whole:
        least = 0.25 if picture.set in SMALL else 0.5
        share = float(least ** rng.uniform(0, 1))
        stretch = float(rng.uniform(0.8, 1.25))
        side = share * (height * width) ** 0.5
        w, h = int(np.clip(side * stretch, 32, width)), int(np.clip(side / stretch, 32, height))
        x0, y0 = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        names = sorted(picture.objects)
        name = around or (names[rng.integers(len(names))] if names else "")
        inside = np.flatnonzero(picture.objects[name][::4, ::4]) if name else np.array([])
        if len(inside) and (around or rng.random() < 0.7):
            y, x = 4 * np.array(divmod(int(rng.choice(inside)), -(-width // 4)))
            x0 = int(np.clip(x - rng.random() * w, 0, width - w))
            y0 = int(np.clip(y - rng.random() * h, 0, height - h))
    cut = np.s_[y0 : y0 + h, x0 : x0 + w]
    image = cv2.resize(picture.image[cut], (SIDE, SIDE), interpolation=cv2.INTER_AREA if w > SIDE else cv2.INTER_CUBIC)
    labels = {
        name: cv2.resize(numbers[cut], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        for name, numbers in picture.objects.items()
    }
    is_stained = False
    if not is_plain:
        turns = int(rng.integers(4)) if picture.set in TURNED else 0
        mirrored = rng.random() < 0.5
        image = _turned(image, turns, mirrored)
        labels = {name: _turned(numbers, turns, mirrored) for name, numbers in labels.items()}
        if picture.set == NUCLEI and look != "stained":
            brightest = max(float(np.percentile(picture.image, 99.9)) / 255, 0.02)
            is_stained = look == "tissue" or rng.random() < 0.3
            image = (tissue if look == "tissue" else stain if is_stained else expose)(rng, image, brightest)
        else:
            is_stained = look == "stained"
            image = _relit(rng, image)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).ravel()
    kept = {name: numbers for name, numbers in labels.items() if numbers.any()}
    brightness = {name: _means(numbers.ravel(), grey) for name, numbers in kept.items()}
    packed = {name: zlib.compress(np.ascontiguousarray(numbers).tobytes(), 1) for name, numbers in kept.items()}
    return image, View(picture.set, packed, brightness, is_stained, is_whole)


def _means(numbers: NDArray[np.uint16], grey: NDArray[np.uint8]) -> dict[int, float]:
    """An object's number -> its mean grey value."""
    counts, sums = np.bincount(numbers), np.bincount(numbers, grey)
    return {int(n): round(float(sums[n] / counts[n]), 1) for n in np.flatnonzero(counts) if n}


def _turned(array: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(array[:, ::-1] if mirrored else array, turns))


def _relit(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Another exposure, gamma and white balance; at times a blur."""
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    levels = levels ** rng.uniform(0.7, 1.4) * rng.uniform(0.75, 1.15) * rng.uniform(0.9, 1.1, 3) + rng.uniform(
        -0.06, 0.06
    )
    table = np.clip(np.rint(levels * 255), 0, 255).astype(np.uint8)
    image = cv2.LUT(np.ascontiguousarray(image), table[None])
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.5))
    return image
