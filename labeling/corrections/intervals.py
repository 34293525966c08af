"""Figures with what they are worth: 95 % intervals.

Regions of one image turn out alike: they are counted for less, as `clusters` says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Z = 1.959964  # of the normal distribution, two-sided 95 %
_RESAMPLES = 1000
FEWEST = 6  # of independent values: the range of five holds the median with less than 95 % (1 - 2 / 2^5)
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
    if clusters is None:
        return _wilson(sum(outcomes), len(outcomes), len(outcomes))
    groups: dict[object, list[bool]] = {}
    for outcome, cluster in zip(outcomes, clusters, strict=True):
        groups.setdefault(cluster, []).append(outcome)
    return share_of_counts([sum(group) for group in groups.values()], [len(group) for group in groups.values()])


def share_of_counts(hits: ArrayLike, sizes: ArrayLike) -> Figure:
    """`share` in clusters, of which each has so many outcomes (at least one), and so many true ones."""
    hits, sizes = np.asarray(hits, np.int64), np.asarray(sizes, np.int64)
    return _wilson(int(hits.sum()), int(sizes.sum()), _effective_count(hits, sizes) if len(sizes) else 0)


def median(values: Sequence[float], clusters: Sequence[object] | None = None) -> Figure:
    """A median with a bootstrap interval; in clusters with that of Woodruff (1952): the values between which the share
    of what lies below the median may be.
    """
    if not len(values):
        return Figure(None, None, None, 0)
    middle = float(np.median(values))
    if clusters is None:
        low, high = _interval(_resampled_medians(values), len(values))
        return Figure(middle, low, high, len(values))
    if len(set(clusters)) < FEWEST:
        return Figure(middle, None, None, len(values))
    below = share([value <= middle for value in values], clusters)
    low, high = (min(max(end or 0.0, 0.0), 1.0) for end in (below.low, below.high))
    ends = np.quantile(values, [min(low, 0.5), max(high, 0.5)])
    return Figure(middle, float(ends[0]), float(ends[1]), len(values))


def median_ratio(values: Sequence[float], control: Sequence[float]) -> Figure:
    """How many times the median of `control` the median of `values` is, with a bootstrap interval."""
    if not len(values) or not len(control) or not np.median(control):
        return Figure(None, None, None, 0)
    ratios = _resampled_medians(values) / np.maximum(_resampled_medians(control, _SEED + 1), 1e-9)
    low, high = _interval(ratios, min(len(values), len(control)))
    return Figure(float(np.median(values) / np.median(control)), low, high, len(values) + len(control))


def tasks_needed(figure: Figure, tasks: int, half_width: float) -> int:
    """How many tasks such as these `tasks` it takes for an interval of at most `half_width` to each side.

    At least `FEWEST`; that many too where there is no interval yet, which tells nothing of how much they vary.
    """
    if figure.low is None or figure.high is None or not tasks:
        return FEWEST
    width = (figure.high - figure.low) / 2
    return max(FEWEST, ceil(tasks * (width / half_width) ** 2))


def _wilson(hits: int, total: int, effective: float) -> Figure:
    if not total:
        return Figure(None, None, None, 0)
    proportion, weight = hits / total, _Z**2 / effective
    middle = (proportion + weight / 2) / (1 + weight)
    half = sqrt(proportion * (1 - proportion) * weight + weight**2 / 4) / (1 + weight)
    low, high = max(0.0, min(middle - half, proportion)), min(1.0, max(middle + half, proportion))
    return Figure(proportion, low, high, total)


def _effective_count(hits: NDArray[np.int64], sizes: NDArray[np.int64]) -> float:
    """How many independent outcomes have the variance of these clusters (Korn and Graubard 1998, with their allowance
    for few clusters). At least what they are worth if all of a cluster are the same (Kish), and exactly that where all
    of all clusters are the same, which says nothing about how alike they are; at most as many as they are.
    """
    from scipy.special import stdtrit  # takes a tenth of the web process's start

    count, total = len(sizes), int(sizes.sum())
    proportion = int(hits.sum()) / total
    fewest = float(total**2 / (sizes**2).sum())
    if count < 2 or proportion in (0.0, 1.0):
        return fewest
    variance = count / (count - 1) * ((hits - proportion * sizes) ** 2).sum() / total**2
    allowance = (_Z / stdtrit(count - 1, 0.975)) ** 2
    worth = proportion * (1 - proportion) / max(variance, 1e-12) * allowance
    return float(np.clip(worth, fewest, total))


def _interval(resampled: NDArray[np.float64], independent: int) -> tuple[float | None, ...]:
    """Few values all lie near each other by chance: resampling them would tell a certainty that nobody has."""
    return (None, None) if independent < FEWEST else tuple(np.quantile(resampled, [0.025, 0.975]).tolist())


def _resampled_medians(values: Sequence[float], seed: int = _SEED) -> NDArray[np.float64]:
    """Medians of samples with replacement, without drawing them: the median of n uniform numbers has a beta
    distribution, and which value is drawn is the rank that such a number falls on (as if n were odd).
    """
    middle = (len(values) + 1) / 2
    ranks = np.random.default_rng(seed).beta(middle, middle, _RESAMPLES) * len(values)
    return np.sort(np.asarray(values, np.float64))[ranks.astype(np.int64)]
