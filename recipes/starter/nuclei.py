"""How nuclei are asked for, and how their pictures are varied: exposed anew, or as if stained."""

from __future__ import annotations

import cv2
import numpy as np

NUCLEI_PROMPTS = (  # the usual ones several times
    "all nuclei", "all nuclei", "all nuclei", "nuclei", "nuclei", "every nucleus", "nucleus", "the nuclei",
    "cell nuclei", "all cell nuclei", "each nucleus", "bright nuclei", "all the nuclei", "all of the nuclei", "cells",
    "all cells", "every cell", "cell", "the cells", "Nuclei", "Nucleus", "All nuclei", "Cell", "all bright nuclei",
    "stained nuclei", "find all nuclei", "segment the nuclei", "bright blobs", "all bright spots", "every cell nucleus",
    "every nucleus, also faint ones", "All cells", "Cells", "Cell nuclei", "every single nucleus",
)  # fmt: skip
STAINED_NUCLEI_PROMPTS = tuple(prompt for prompt in NUCLEI_PROMPTS if "bright" not in prompt)


def stain(rng: np.random.Generator, picture: np.ndarray, brightest: float) -> np.ndarray:
    """As if the fluorescent dye were an absorbing stain in transmitted light. (S, S[, 3]) -> (S, S, 3) uint8.

    Light falls off exponentially with dye (Beer-Lambert); a counterstain of another colour lies in smooth blotches.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    dye = np.minimum(grey.astype(np.float32) / 255 / brightest, 1.2) ** (0.5 + rng.random())
    blotches = rng.random((2 + int(rng.random() * 7),) * 2, dtype=np.float32)
    counterstain = np.clip(cv2.resize(blotches, grey.shape[::-1], interpolation=cv2.INTER_CUBIC), 0, 1)
    absorbed: np.ndarray = np.float32(0.5 + 1.7 * rng.random()) * dye[..., None] * _absorbance(rng)
    absorbed = absorbed + np.float32(0.8 * rng.random()) * counterstain[..., None] * _absorbance(rng)
    light = 255 * (1 - 0.25 * rng.random((1, 1, 3), dtype=np.float32) * rng.random(dtype=np.float32))
    return _blur_or_add_noise(rng, np.rint(light * np.exp(-absorbed)).astype(np.uint8))


def tissue(rng: np.random.Generator, picture: np.ndarray, brightest: float) -> np.ndarray:
    """As if the nuclei were haematoxylin in tissue that eosin stains. (S, S[, 3]) -> (S, S, 3) uint8.

    The eosin lies in fibres and blotches of several sizes, with gaps; nuclei take it up unevenly. The colours are those
    of Ruifrok & Johnston (2001), varied.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    dye = np.minimum(grey.astype(np.float32) / 255 / brightest, 1.1) ** (0.4 + 0.5 * rng.random())
    dye *= 0.7 + 0.6 * _texture(rng, grey.shape, (16, 48))
    matter = _texture(rng, grey.shape, (3, 9, 30))
    gaps = np.clip(8 * (_texture(rng, grey.shape, (5, 14)) - 0.25 - 0.2 * rng.random()), 0, 1)
    haematoxylin = np.array([0.65, 0.70, 0.29], np.float32) + rng.normal(0, 0.06, 3).astype(np.float32)
    eosin = np.array([0.12, 0.90, 0.30], np.float32) + rng.normal(0, 0.08, 3).astype(np.float32)
    blue, pink = np.float32(0.9 + 1.3 * rng.random()), np.float32(0.25 + 0.8 * rng.random())
    absorbed = blue * dye[..., None] * haematoxylin + pink * (matter * gaps)[..., None] * np.maximum(eosin, 0.02)
    absorbed += np.float32(0.3 * rng.random()) * matter[..., None] * haematoxylin  # the dye is not on nuclei alone
    light = 255 * (1 - 0.12 * rng.random((1, 1, 3), dtype=np.float32))
    return _blur_or_add_noise(rng, np.rint(light * np.exp(-absorbed)).astype(np.uint8))


def _texture(rng: np.random.Generator, shape: tuple[int, ...], cells: tuple[int, ...]) -> np.ndarray:
    """(H, W) float32 in 0..1: smooth noise of some sizes, drawn out in one direction."""
    drawn = np.zeros(shape[:2], np.float32)
    for count in cells:
        stretched = (count, max(2, round(count * (0.4 + 0.6 * rng.random()))))[:: 1 if rng.random() < 0.5 else -1]
        grid = rng.random(stretched, dtype=np.float32)
        drawn += cv2.resize(grid, shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(drawn / len(cells), 0, 1)


def _absorbance(rng: np.random.Generator) -> np.ndarray:
    """(3,) float32: how strongly a stain takes up red, green and blue; the strongest 1."""
    absorbance = 0.1 + rng.random(3, dtype=np.float32)
    return np.asarray(absorbance / absorbance.max())


def expose(rng: np.random.Generator, picture: np.ndarray, brightest: float) -> np.ndarray:
    """Another exposure, contrast, gamma and, at times, a tint, blur or noise. (S, S[, 3]) -> (S, S, 3) uint8.

    `brightest` (0..1) is that of the whole image: a tile of mere background must not be turned up until it shows noise.
    """
    levels: np.ndarray = np.arange(256, dtype=np.float32) / 255
    if rng.random() < 0.8:
        aim = brightest * ((0.25 + 0.75 * rng.random()) / brightest) ** rng.random()  # what the brightest becomes
        levels = np.minimum(levels / brightest, 2) ** (0.65 * 2.4 ** rng.random())  # gamma 0.65 to 1.56
        levels = np.clip((levels + rng.random() * 0.15 - 0.04) * aim, 0, 1)
    tint: np.ndarray = np.ones((1, 3), np.float32)
    if rng.random() < 0.2:
        tint = 1 - rng.random((1, 3), dtype=np.float32) * rng.random(dtype=np.float32)
        tint /= tint.max()
    table = np.rint(levels[:, None] * tint * 255).astype(np.uint8)  # (256, 3)
    if picture.ndim == 2:
        picture = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_GRAY2RGB)
    return _blur_or_add_noise(rng, cv2.LUT(np.ascontiguousarray(picture), table[None]))


def _blur_or_add_noise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (3, 3), 0.4 + 0.6 * rng.random())
    if rng.random() < 0.2:
        strength = 1 + int(rng.random() * 8)
        noise = rng.integers(0, 2 * strength + 1, image.shape[:2], dtype=np.uint8)  # grey, like a sensor's
        noise = cv2.cvtColor(noise, cv2.COLOR_GRAY2RGB)
        image = cv2.subtract(cv2.add(image, noise), np.full_like(noise, strength))
    return image
