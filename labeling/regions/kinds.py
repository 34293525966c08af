"""Every kind of region that can hold a mask: drawing it for Label Studio, and reading it back.

A kind is a control tag's name in lower case, which is also the region's "type": "brushlabels" for `<BrushLabels>`,
"brush" for the plain tag, whose regions carry no label of their own.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions import bitmask, brush, ellipse, polygon, rectangle, vector
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.image_size import check_image_size

Value = dict[str, Any]


@dataclass(frozen=True)
class DrawnRegion:
    """A region's geometry: its `value` without labels, and the mask that this value encodes."""

    value: Value
    shape: CroppedMask

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Bool (height, width)."""
        return self.shape.full()


@dataclass(frozen=True)
class _Shape:
    read: Callable[[Value, int, int], CroppedMask]  # value, width, height; RegionError if it is malformed
    draw: Callable[[CroppedMask, float], list[Value]] | None = None  # of a mask that is not empty; tolerance in px
    is_lossless: bool = False  # then it is one region, and what is read is what was drawn; else one for each object
    is_box: bool = False  # a smart one asks for a mask, and masks are drawn with it only where nothing else can be
    max_pixels: float = float("inf")  # of a label's regions together: what Label Studio 1.23 shows in 36 s
    numbers: Callable[[Value], NDArray[np.float64] | None] | None = None  # see `geometry_numbers`
    vertices: str | None = None  # where a value lists them


_SHAPES = {
    "brush": _Shape(brush.read, brush.draw, is_lossless=True, max_pixels=1e9),
    "bitmask": _Shape(bitmask.read, bitmask.draw, is_lossless=True, max_pixels=2e8),
    "polygon": _Shape(polygon.read, polygon.draw, numbers=polygon.numbers, vertices="points"),
    "vector": _Shape(vector.read, vector.draw, numbers=vector.numbers, vertices="vertices"),
    "rectangle": _Shape(rectangle.read, rectangle.draw, is_box=True, numbers=rectangle.numbers),
    "ellipse": _Shape(ellipse.read),
}
MAX_REGIONS = 1000  # a browser is slow with a hundred


def _kinds(has: Callable[[_Shape], bool]) -> tuple[str, ...]:
    return tuple(kind for name, shape in _SHAPES.items() if has(shape) for kind in (f"{name}labels", name))


READABLE_KINDS = _kinds(lambda shape: True)
KINDS = _kinds(lambda shape: shape.draw is not None)  # the others are drawn by annotators only
ONE_OBJECT_KINDS = _kinds(lambda shape: not shape.is_lossless)
BOX_KINDS = _kinds(lambda shape: shape.is_box)
SMART_KINDS = tuple(dict.fromkeys((*BOX_KINDS, "keypointlabels", "keypoint")))  # they ask, where smart="true" is set


def most_regions(kind: str, width: int, height: int) -> int:
    """How many regions of a kind an image of this size (px) takes before its page is slow to open; at least one.

    Label Studio makes a picture of the image's size of every brush mask and bitmask.
    """
    return int(max(min(_shape(kind, KINDS).max_pixels / (width * height), MAX_REGIONS), 1))


def draw_regions(kind: str, mask: NDArray[np.bool_], *, tolerance: float = 1.0) -> list[DrawnRegion]:
    """Draw a mask (height, width), at the image's upright size, as regions of a kind; see `draw_cropped`."""
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise RegionError(f"A mask must be bool of (height, width), not {mask.dtype} of {mask.shape}.")
    return draw_cropped(kind, CroppedMask.of(mask), tolerance=tolerance)


def draw_cropped(kind: str, mask: CroppedMask, *, tolerance: float = 1.0) -> list[DrawnRegion]:
    """Draw a mask as regions of a kind, in time that its crop takes; an empty mask gives none.

    Brush and bitmask give one region and lose nothing. Polygon and vector give one for each connected object, whose
    outline moves by at most `tolerance` px (0: exact). Rectangle gives one for each connected object: its box.
    """
    shape = _shape(kind, KINDS)
    if not 0 <= tolerance < float("inf"):
        raise RegionError(f"The tolerance must be a number of pixels from 0 on, not {tolerance}.")
    width, height = check_image_size(mask.width, mask.height)
    if mask.is_empty or shape.draw is None:
        return []
    values = shape.draw(mask, tolerance)
    return [DrawnRegion(value, mask if shape.is_lossless else shape.read(value, width, height)) for value in values]


def region_dict(
    drawn: DrawnRegion,
    *,
    kind: str,
    label: str | None,
    from_name: str,
    to_name: str,
    score: float | None,
    region_id: str,
) -> dict[str, Any]:
    """The region as Label Studio stores it."""
    if label is not None and not kind.endswith("labels"):
        raise RegionError(f"A region of the plain tag {kind!r} carries no label ({label!r}).")
    return {
        "id": region_id,
        "type": kind,
        "from_name": from_name,
        "to_name": to_name,
        "original_width": drawn.shape.width,
        "original_height": drawn.shape.height,
        "image_rotation": 0,
        "score": score,
        "value": drawn.value if label is None else {**drawn.value, kind: [label]},
    }


def region_mask(region: dict[str, Any]) -> NDArray[np.bool_]:
    """The mask, bool (height, width), of a region of a prediction or an annotation; see `region_shape`."""
    return region_shape(region).full()


def region_shape(region: dict[str, Any]) -> CroppedMask:
    """What a region of a prediction or an annotation masks; what lies outside the image is cut off.

    RegionError, saying what is wrong, where the region is malformed, or claims more pixels or points than we read.
    """
    try:
        read = _shape(region.get("type"), READABLE_KINDS).read
        width, height = check_image_size(region.get("original_width"), region.get("original_height"))
        value = region.get("value")
        if not isinstance(value, dict):
            raise RegionError("It has no value.")
        # image_rotation, how the page had the image turned, changes nothing: values are those of the upright image.
        return read(value, width, height)
    except RegionError as error:
        raise RegionError(f"Region {region.get('id')!s:.40}: {error}") from None


def geometry_numbers(kind: str, value: Value) -> NDArray[np.float64] | None:
    """What a region's value is made of, in percent and degrees: a page's arithmetic changes their last digits.

    None for masks, which it does not compute anew, for curves, whose handles we do not read, and for what is malformed.
    """
    shape = _SHAPES.get(kind.removesuffix("labels"))
    if shape is not None and shape.numbers is not None:
        with suppress(KeyError, TypeError, ValueError, OverflowError, AttributeError):
            return shape.numbers(value)
    return None


def count_vertices(kind: str, value: Value) -> int | None:
    """The vertices of a polygon's or a vector's value; None for other kinds."""
    shape = _SHAPES.get(kind.removesuffix("labels"))
    found = None if shape is None or shape.vertices is None else value.get(shape.vertices)
    return len(found) if isinstance(found, list) else None


def _shape(kind: object, kinds: tuple[str, ...]) -> _Shape:
    if not isinstance(kind, str) or kind not in kinds:
        raise RegionError(f"{kind!r:.40} is no kind of region that holds a mask. There are {', '.join(KINDS)}.")
    return _SHAPES[kind.removesuffix("labels")]
