"""Values of any depth as 8 bits: stretched, so that the least becomes 0 and the greatest 255."""

from collections.abc import Iterable

import numpy as np


def finite_range(arrays: Iterable[np.ndarray]) -> tuple[float, float]:
    """The least and the greatest finite value; 0, 0 if there is none."""
    low, high = np.inf, -np.inf
    for values in arrays:
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def stretch_to_uint8(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if low == high:
        return np.zeros(values.shape, np.uint8)
    levels = values.astype(np.float64)
    levels[~np.isfinite(levels)] = low
    levels -= low
    levels *= 255 / (high - low)
    return np.rint(levels, out=levels).astype(np.uint8)
