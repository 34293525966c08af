"""Random fields over a picture: clouds, fibres, blur."""

from __future__ import annotations

import cv2
import numpy as np


def clouds(rng: np.random.Generator, height: int, width: int, size: float) -> np.ndarray:
    """(height, width) float32, about normal with mean 0 and deviation 1: smooth noise whose blobs are `size` pixels."""
    if size < 3:
        noise = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0), max(size / 2.5, 0.3))
        return np.asarray(noise / max(float(noise.std()), 1e-6))
    step = size / 2
    rows, columns = int(height / step) + 4, int(width / step) + 4
    coarse = cv2.GaussianBlur(rng.standard_normal((rows, columns), dtype=np.float32), (0, 0), 0.9)
    coarse /= 0.31  # what the blur leaves of the deviation
    shift = 1 + rng.random(2)
    place = np.array([[1 / step, 0, shift[0]], [0, 1 / step, shift[1]]], np.float32)
    return cv2.warpAffine(coarse, place, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def fibres(rng: np.random.Generator, height: int, width: int, across: float, along: float, turn: float) -> np.ndarray:
    """(height, width) float32 like `clouds`, drawn out: wavy strands `across` pixels wide and about `along` long."""
    reach = float(np.hypot(height, width)) * 1.15
    straight = clouds(rng, int(reach / across * 2.5), int(reach / along * 2.5), 2.5)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    wave = clouds(rng, height, width, along) * np.float32(across * 1.5)
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    x, y = x - width / 2, y - height / 2
    u = (x * cosine + y * sine + reach / 2) / np.float32(along / 2.5)
    v = (y * cosine - x * sine + wave + reach / 2) / np.float32(across / 2.5)
    return cv2.remap(straight, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """`picture` blurred by `sigma` pixels; wide blurs on a smaller copy, which takes a fraction of the time."""
    if sigma < 0.2:
        return picture
    if sigma < 6:
        return cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    height, width = picture.shape[:2]
    smaller = sigma / 3
    size = (max(round(width / smaller), 2), max(round(height / smaller), 2))
    small = cv2.GaussianBlur(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), (0, 0), 3)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
