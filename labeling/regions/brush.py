"""Brush regions: a mask as run lengths inside Label Studio's region dict, and back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions import brush_rle

MASK_THRESHOLD = 128  # the browser's brush and eraser are antialiased


def draw(mask: NDArray[np.bool_], tolerance: float) -> list[dict[str, Any]]:
    """One value; `tolerance` changes nothing."""
    return [{"format": "rle", "rle": brush_rle.encode(mask)}]


def read(value: dict[str, Any], width: int, height: int) -> NDArray[np.bool_]:
    """The mask (height, width). RegionError unless the run lengths are those of an image of this size."""
    if value.get("format") != "rle":
        raise RegionError('A brush region needs the format "rle" and its run lengths in rle.')
    return brush_rle.decode(value.get("rle"), width, height) >= MASK_THRESHOLD


def brush_region(
    mask: NDArray[np.bool_] | NDArray[np.uint8],
    *,
    label: str | None,
    from_name: str,
    to_name: str,
    region_type: str,
    score: float | None,
    region_id: str,
) -> dict[str, Any]:
    """A mask (height, width), at the image's upright size, as a region of a prediction."""
    height, width = mask.shape
    value: dict[str, Any] = {"format": "rle", "rle": brush_rle.encode(mask)}
    if label is not None:
        value[region_type] = [label]
    return {
        "id": region_id,
        "type": region_type,
        "from_name": from_name,
        "to_name": to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": score,
        "value": value,
    }


def brush_mask(region: dict[str, Any]) -> NDArray[np.bool_]:
    """A brush region's mask, bool (height, width). RegionError where its sizes or run lengths are malformed."""
    value = region.get("value")
    if not isinstance(value, dict) or "rle" not in value:
        raise RegionError(
            f"Region {region.get('id')!r} of type {region.get('type')!r} holds no brush mask (value.rle)."
        )
    width, height = region.get("original_width"), region.get("original_height")
    if type(width) is not int or type(height) is not int:
        raise RegionError(f"Region {region.get('id')!r} needs original_width and original_height as whole numbers.")
    return brush_rle.decode(value["rle"], width, height) >= MASK_THRESHOLD
