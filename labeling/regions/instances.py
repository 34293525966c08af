"""A mask's objects, one by one: connected pixels, and touching objects split at their waists."""

import cv2
import numpy as np
from numpy.typing import NDArray


def drop_small(mask: NDArray[np.bool_], min_area: int) -> NDArray[np.bool_]:
    """The mask (height, width) without its connected objects (8-connected) of less than `min_area` px."""
    if min_area <= 1 or not mask.any():
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    is_kept = stats[:, cv2.CC_STAT_AREA] >= min_area
    is_kept[0] = False
    kept: NDArray[np.bool_] = is_kept[labels]
    return kept


def label_instances(mask: NDArray[np.bool_], min_area: int = 0) -> NDArray[np.int32]:
    """Number the objects of at least `min_area` px from 1, (height, width); 0 is background."""
    labels = cv2.connectedComponents(drop_small(mask, min_area).view(np.uint8), connectivity=8, ltype=cv2.CV_32S)[1]
    return labels.astype(np.int32)
