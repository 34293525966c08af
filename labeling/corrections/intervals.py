"""Figures with what they are worth: 95 % intervals (numpy only)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

_Z = 1.959964  # of the normal distribution, two-sided 95 %
_RESAMPLES = 1000
_FEWEST = 6  # of independent values: the range of five holds the median with less than 95 % (1 - 2 / 2^5)
_SEED = 20261122  # the same data give the same interval


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval, out of `count` observations; None where there is none, or for too few of them."""

    value: float | None
    low: float | None
    high: float | None
    count: int


def share(hits: int, total: int) -> Figure:
    """A proportion with Wilson's interval (1927), which is sound for small numbers and for 0 and 100 % too."""
    if not total:
        return Figure(None, None, None, 0)
    proportion, weight = hits / total, _Z**2 / total
    middle = (proportion + weight / 2) / (1 + weight)
    half = sqrt(proportion * (1 - proportion) * weight + weight**2 / 4) / (1 + weight)
    return Figure(proportion, max(0.0, min(middle - half, proportion)), min(1.0, max(middle + half, proportion)), total)


def median(values: Sequence[float], clusters: Sequence[object] | None = None) -> Figure:
    """A median with a bootstrap interval. Values of one cluster (regions of one image) are drawn together."""
    if not len(values):
        return Figure(None, None, None, 0)
    low, high = _interval(_resampled_medians(values, clusters), len(set(clusters or range(len(values)))))
    return Figure(float(np.median(values)), low, high, len(values))


def median_ratio(values: Sequence[float], control: Sequence[float]) -> Figure:
    """How many times the median of `control` the median of `values` is, with a bootstrap interval."""
    if not len(values) or not len(control) or not np.median(control):
        return Figure(None, None, None, 0)
    ratios = _resampled_medians(values, None) / np.maximum(_resampled_medians(control, None, _SEED + 1), 1e-9)
    low, high = _interval(ratios, min(len(values), len(control)))
    return Figure(float(np.median(values) / np.median(control)), low, high, len(values) + len(control))


def _interval(resampled: np.ndarray[tuple[int], np.dtype[np.float64]], independent: int) -> tuple[float | None, ...]:
    """Few values all lie near each other by chance: resampling them would tell a certainty that nobody has."""
    return (None, None) if independent < _FEWEST else tuple(np.quantile(resampled, [0.025, 0.975]).tolist())


def _resampled_medians(
    values: Sequence[float], clusters: Sequence[object] | None, seed: int = _SEED
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    groups: dict[object, list[float]] = {}
    for index, value in enumerate(values):
        groups.setdefault(clusters[index] if clusters is not None else index, []).append(value)
    members = [np.asarray(group, np.float64) for group in groups.values()]
    drawn = rng.integers(0, len(members), (_RESAMPLES, len(members)))
    if clusters is None:
        return np.array(np.median(np.concatenate(members)[drawn], axis=1))
    return np.array([np.median(np.concatenate([members[index] for index in row])) for row in drawn])
