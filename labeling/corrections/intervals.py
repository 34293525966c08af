"""Figures with what they are worth: 95 % intervals.

Regions of one image turn out alike: they are drawn together, or counted for less, as `clusters` says.
"""

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


def share(outcomes: Sequence[bool], clusters: Sequence[object] | None = None) -> Figure:
    """The proportion of true ones with Wilson's interval (1927), which is sound for small numbers and for 0 and 100 %.

    In clusters, the interval is that of as many independent outcomes as they are worth (`_effective_count`).
    """
    if not len(outcomes):
        return Figure(None, None, None, 0)
    proportion = sum(outcomes) / len(outcomes)
    weight = _Z**2 / (len(outcomes) if clusters is None else _effective_count(outcomes, clusters))
    middle = (proportion + weight / 2) / (1 + weight)
    half = sqrt(proportion * (1 - proportion) * weight + weight**2 / 4) / (1 + weight)
    low, high = max(0.0, min(middle - half, proportion)), min(1.0, max(middle + half, proportion))
    return Figure(proportion, low, high, len(outcomes))


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


def _effective_count(outcomes: Sequence[bool], clusters: Sequence[object]) -> float:
    """How many independent outcomes have the variance of these (Korn and Graubard 1998, with their allowance for few
    clusters). At least what they are worth if all of a cluster are the same (Kish), and exactly that where all of all
    clusters are the same, which says nothing about how alike they are; at most as many as they are.
    """
    from scipy.special import stdtrit  # takes a tenth of the web process's start

    groups: dict[object, list[bool]] = {}
    for outcome, cluster in zip(outcomes, clusters, strict=True):
        groups.setdefault(cluster, []).append(outcome)
    sizes, hits = (np.array([measure(group) for group in groups.values()]) for measure in (len, sum))
    total, proportion = len(outcomes), sum(outcomes) / len(outcomes)
    fewest = float(total**2 / (sizes**2).sum())
    if len(groups) < 2 or proportion in (0.0, 1.0):
        return fewest
    variance = len(groups) / (len(groups) - 1) * ((hits - proportion * sizes) ** 2).sum() / total**2
    allowance = (_Z / stdtrit(len(groups) - 1, 0.975)) ** 2
    worth = proportion * (1 - proportion) / max(variance, 1e-12) * allowance
    return float(np.clip(worth, fewest, total))


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
