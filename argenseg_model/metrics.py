"""How well masks agree with the truth (numpy, no torch).

A mask is an array (H, W) of bool or integers, foreground where it is not 0. Two empty masks agree: every figure is 1.0.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

Mask = np.ndarray


def iou(predicted: Mask, truth: Mask) -> float:
    """Intersection over union, 0..1. Raises ValueError for masks of different shapes or of floats."""
    intersection, union = _intersection_and_union(predicted, truth)
    return _ratio(intersection, union)


def ciou(predicted: Iterable[Mask], truths: Iterable[Mask]) -> float:
    """Cumulative IoU of a set: the sum of intersections over the sum of unions. Large objects weigh more."""
    sums = [_intersection_and_union(*pair) for pair in zip(predicted, truths, strict=True)]
    if not sums:
        raise ValueError("cIoU of no masks: the set is empty")
    intersections, unions = zip(*sums, strict=True)
    return _ratio(sum(intersections), sum(unions))


def giou(predicted: Iterable[Mask], truths: Iterable[Mask]) -> float:
    """Mean of the IoUs of a set (LISA's gIoU). Every image weighs the same."""
    ious = [iou(*pair) for pair in zip(predicted, truths, strict=True)]
    if not ious:
        raise ValueError("gIoU of no masks: the set is empty")
    return float(np.mean(ious))


def boundary_iou(predicted: Mask, truth: Mask, dilation_ratio: float = 0.02) -> float:
    """IoU of the masks' inner boundaries, whose width is `dilation_ratio` of the image diagonal (at least 1 px).

    Boundary IoU of Cheng et al., CVPR 2021, with their erosion: square, the outside of the image counts as background.
    """
    predicted, truth = _foreground(predicted, truth)
    width = max(1, round(dilation_ratio * float(np.hypot(*truth.shape))))
    box = _bounding_box(predicted | truth)
    predicted, truth = predicted[box], truth[box]
    return iou(_inner_boundary(predicted, width), _inner_boundary(truth, width))


@dataclass(frozen=True)
class InstanceMatch:
    """Objects found, counted: `matched` pairs of `predicted` and `actual` objects."""

    matched: int
    predicted: int
    actual: int

    @property
    def precision(self) -> float:
        """Share of the predicted objects that are real; 0 when none was predicted though there are some."""
        return self._share(self.predicted)

    @property
    def recall(self) -> float:
        """Share of the real objects that were found; 0 when there are none though some were predicted."""
        return self._share(self.actual)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return self._share((self.predicted + self.actual) / 2)

    def _share(self, total: float) -> float:
        if not self.predicted and not self.actual:
            return 1.0
        return self.matched / total if total else 0.0


def match_instances(predicted: Mask, truth: Mask, threshold: float = 0.5) -> InstanceMatch:
    """Match the objects of two label images (0 background, every other value one object) at IoU >= `threshold`.

    Each object is matched at most once, and as many as possible. `threshold` is above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold is {threshold}; an IoU to match at lies above 0 and at most at 1")
    from scipy.sparse import csr_array  # a fifth of the web process's start, which matches nothing
    from scipy.sparse.csgraph import maximum_bipartite_matching

    _check(predicted, truth)
    predicted_objects, predicted_index = np.unique(predicted, return_inverse=True)
    true_objects, true_index = np.unique(truth, return_inverse=True)
    pairs, pixels = np.unique(predicted_index.ravel() * len(true_objects) + true_index.ravel(), return_counts=True)
    rows, columns = np.divmod(pairs, len(true_objects))
    predicted_area = np.bincount(rows, weights=pixels, minlength=len(predicted_objects))
    true_area = np.bincount(columns, weights=pixels, minlength=len(true_objects))
    overlap = pixels / (predicted_area[rows] + true_area[columns] - pixels)
    good = (overlap >= threshold) & (predicted_objects[rows] != 0) & (true_objects[columns] != 0)
    graph = csr_array(
        (np.ones(int(good.sum()), bool), (rows[good], columns[good])), shape=(len(predicted_objects), len(true_objects))
    )
    return InstanceMatch(
        matched=int((maximum_bipartite_matching(graph) >= 0).sum()),
        predicted=int((predicted_objects != 0).sum()),
        actual=int((true_objects != 0).sum()),
    )


def _check(predicted: Mask, truth: Mask) -> None:
    for mask in (predicted, truth):
        if mask.ndim != 2 or mask.dtype.kind not in "bui":
            raise ValueError(
                f"a mask is (H, W) of bool or integers, not {mask.shape} of {mask.dtype}; threshold it first"
            )
    if predicted.shape != truth.shape:
        raise ValueError(f"the masks have different shapes: {predicted.shape} and {truth.shape}")


def _foreground(predicted: Mask, truth: Mask) -> tuple[Mask, Mask]:
    _check(predicted, truth)
    return predicted != 0, truth != 0


def _intersection_and_union(predicted: Mask, truth: Mask) -> tuple[int, int]:
    predicted, truth = _foreground(predicted, truth)
    return int(np.count_nonzero(predicted & truth)), int(np.count_nonzero(predicted | truth))


def _ratio(intersection: int, union: int) -> float:
    return intersection / union if union else 1.0


def _bounding_box(mask: Mask) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else (slice(0), slice(0))


def _inner_boundary(mask: Mask, width: int) -> Mask:
    """The foreground pixels whose square of 2 * width + 1 px reaches background or the outside."""
    distance = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_C, 3)[1:-1, 1:-1]
    return mask & (distance <= width)
