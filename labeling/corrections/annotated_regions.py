"""The regions of an annotation that hold masks, of every kind, as an annotator left them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions.kinds import KINDS, region_mask

_SAME_PERCENT = 0.01  # of the image's side: the page computes in pixels and writes percents back
_MASKS_FROM_TAGS = frozenset(KINDS)


@dataclass(frozen=True)
class AnnotatedRegion:
    """A region as it was submitted. `mask` is bool (height, width), None if nothing is left in it."""

    region_id: str
    region_type: str
    label: str | None
    mask: NDArray[np.bool_] | None
    value: dict[str, Any]

    @property
    def vertices(self) -> int | None:
        """How many there are, of a polygon or a vector."""
        return count_vertices(self.value)


def read_regions(result: Iterable[Any], image_tag: str | None = None) -> tuple[dict[str, AnnotatedRegion], set[str]]:
    """Regions by id, and the ids of those that hold no mask that we can read; those on another image tag are left out.

    A region's parts (the mask of a plain <Brush>, the label beside it) are items of one id; items without geometry,
    such as typed text, are no regions.
    """
    items: dict[str, list[dict[str, Any]]] = {}
    for item in result:
        if not (isinstance(item, dict) and isinstance(item.get("value"), dict) and "original_width" in item):
            continue
        if image_tag is None or item.get("to_name", image_tag) == image_tag:
            items.setdefault(str(item.get("id")), []).append(item)
    regions, unread = {}, set()
    for region_id, parts in items.items():
        try:
            drawn = next(part for part in parts if part.get("type") in _MASKS_FROM_TAGS)
            mask = region_mask(drawn)
        except (StopIteration, RegionError):
            unread.add(region_id)
            continue
        regions[region_id] = AnnotatedRegion(
            region_id=region_id,
            region_type=drawn["type"],
            label=next(_labels(parts), None),
            mask=mask if mask.any() else None,
            value=drawn["value"],
        )
    return regions, unread


def is_same_shape(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two values of polygons, vectors or rectangles are the same, up to what a page's arithmetic changes."""
    first, second = _numbers(before), _numbers(after)
    return (
        first is not None
        and second is not None
        and first.shape == second.shape
        and bool((np.abs(first - second) <= _SAME_PERCENT).all())
    )


def count_vertices(value: dict[str, Any]) -> int | None:
    """The vertices of a polygon's or a vector's value; None for other kinds."""
    found = value.get("points", value.get("vertices"))
    return len(found) if isinstance(found, list) else None


def _labels(parts: list[dict[str, Any]]) -> Iterator[str]:
    for part in parts:
        labels = part["value"].get(part.get("type")) or part["value"].get("labels")
        if isinstance(labels, list):
            yield from (label for label in labels if isinstance(label, str))


def _numbers(value: dict[str, Any]) -> NDArray[np.float64] | None:
    """What a shape is made of, in percent and degrees; None for masks, and for curves, whose handles we do not read."""
    try:
        if "points" in value:
            return np.array(value["points"], np.float64)
        if "vertices" in value:
            vertices = value["vertices"]
            is_curved = any(vertex.get("isBezier") for vertex in vertices)
            return None if is_curved else np.array([[vertex["x"], vertex["y"]] for vertex in vertices], np.float64)
        return np.array(
            [value[key] for key in ("x", "y", "width", "height")] + [value.get("rotation") or 0], np.float64
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
