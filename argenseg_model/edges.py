"""Edges of a coarse mask moved to those of the image (guided filter: He et al., "Guided Image Filtering", 2010)."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

EPSILON = 3e-4
"""Variance of the image's grey (0..1) that counts as an edge."""
WIDEST = 2048
"""px: larger images are filtered at this size, and the result enlarged."""


def snap_to_edges(probability: NDArray[np.float32], image: Image.Image, radius: float) -> NDArray[np.float32]:
    """A probability map (H, W) in 0..1 that follows the edges of its image (of the same size) within `radius` px.

    Where it is the same all around, it stays as it is.
    """
    height, width = probability.shape
    scale = min(1.0, WIDEST / max(height, width))
    if scale < 1:
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        coarse = cv2.resize(probability, small, interpolation=cv2.INTER_AREA)
        snapped = snap_to_edges(coarse, image.resize(small, Image.Resampling.BOX), radius * scale)
        return cv2.resize(snapped, (width, height), interpolation=cv2.INTER_LINEAR)
    grey = np.asarray(image.convert("L"), dtype=np.float32) / 255
    side = 2 * max(1, round(radius)) + 1

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT)

    mean_grey, mean_mask = mean(grey), mean(probability)
    covariance, variance = mean(grey * probability) - mean_grey * mean_mask, mean(grey * grey) - mean_grey**2
    slope = covariance / (variance + EPSILON)
    return np.clip(mean(slope) * grey + mean(mean_mask - slope * mean_grey), 0, 1)


def drop_specks(probability: NDArray[np.float32], least_area: float) -> NDArray[np.float32]:
    """A probability map (H, W) whose mask (above 0.5) has no parts and no holes of less than `least_area` px."""
    mask = probability > 0.5
    if not mask.any():
        return probability
    cleaned = probability.copy()
    for is_hole, connectivity in ((False, 8), (True, 4)):
        drawn = (mask ^ is_hole).view(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(drawn, connectivity=connectivity)
        is_speck = stats[:, cv2.CC_STAT_AREA] < least_area
        is_speck[0] = False
        specks = is_speck[labels]
        cleaned[specks] = np.nextafter(np.float32(0.5), np.float32(1)) if is_hole else 0.5
    return cleaned
