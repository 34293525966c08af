"""The regions of an annotation that hold masks, of every kind, as an annotator left them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.kinds import READABLE_KINDS, count_vertices, geometry_numbers, region_shape
from labeling.regions.percent import given

_SAME_PERCENT = 0.01  # of the image's side: the page computes in pixels and writes percents back


@dataclass(frozen=True)
class AnnotatedRegion:
    """A region as it was submitted. `shape` is its mask, None if nothing is left in it."""

    region_id: str
    region_type: str
    label: str | None
    shape: CroppedMask | None
    value: dict[str, Any]

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """Bool (height, width)."""
        return None if self.shape is None else self.shape.full()

    @property
    def vertices(self) -> int | None:
        """How many there are, of a polygon or a vector."""
        return count_vertices(self.region_type, self.value)


def read_regions(
    result: Iterable[Any], image_tag: str | None = None, input_tags: Sequence[str] = ()
) -> tuple[dict[str, AnnotatedRegion], set[str]]:
    """Regions by id, and the ids of those that hold no mask that we can read; those on another image tag are left out.

    With several labels it is a region for each of them. What a program wrote may lack ids, or use one twice: a region
    without an id is named by its place ("#3" is the fourth item); of several shapes with one id the first keeps it, the
    others are named after it ("a#2").
    """
    # A region's parts (the mask of a plain <Brush>, the label beside it) are items of one id; items without geometry,
    # such as typed text, are no regions.
    items: dict[str, list[dict[str, Any]]] = {}
    for place, item in enumerate(result):
        if not (isinstance(item, dict) and isinstance(item.get("value"), dict) and "original_width" in item):
            continue
        if image_tag is None or given(item, "to_name", image_tag) == image_tag:
            has_id = item.get("id") not in (None, "")
            items.setdefault(_storable(str(item["id"])) if has_id else f"#{place}", []).append(item)
    regions, unread = dict[str, AnnotatedRegion](), set[str]()
    for region_id, parts in items.items():
        names = (name for name in _names(region_id) if name == region_id or name not in items)
        shapes, unreadable = _shapes(parts)
        for shape, drawn in shapes:
            for label in _labels([*drawn, *(part for part in parts if not _is_drawn(part))]) or (None,):
                name = next(names)
                regions[name] = AnnotatedRegion(
                    region_id=name,
                    region_type=drawn[0]["type"],
                    label=label,
                    shape=None if shape.is_empty else shape,
                    value=drawn[0]["value"],
                )
                # The page submits a smart box that got no answer, or whose answer was not accepted yet, as if it had
                # been drawn to stay: nobody should learn from it that the box is full.
                if drawn[0].get("from_name") in input_tags:
                    unread.add(name)
        unread.update(next(names) for _ in range(unreadable))
    return regions, unread


def _is_drawn(item: dict[str, Any]) -> bool:
    return item.get("type") in READABLE_KINDS


def _names(region_id: str) -> Iterator[str]:
    yield region_id
    yield from (f"{region_id}#{number}" for number in count(2))


def _shapes(parts: list[dict[str, Any]]) -> tuple[list[tuple[CroppedMask, list[dict[str, Any]]]], int]:
    """The different masks among items of one id, each with the items that draw it; and how many cannot be read."""
    shapes = list[tuple[CroppedMask, list[dict[str, Any]]]]()
    drawn = [part for part in parts if _is_drawn(part)]
    unreadable = 0 if drawn else 1
    for part in drawn:
        try:
            shape = region_shape(part).trimmed()
        except RegionError:
            unreadable += 1
            continue
        same = next((items for other, items in shapes if _is_equal(shape, other)), None)
        if same is None:
            shapes.append((shape, [part]))
        else:
            same.append(part)
    return shapes, unreadable


def _is_equal(first: CroppedMask, second: CroppedMask) -> bool:
    """Of trimmed masks, whether they draw the same on images of one size."""
    places = ((each.top, each.left, each.height, each.width) for each in (first, second))
    return next(places) == next(places) and np.array_equal(first.crop, second.crop)


def is_same_shape(kind: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two values of a kind that is no mask are the same, up to what a page's arithmetic changes."""
    first, second = geometry_numbers(kind, before), geometry_numbers(kind, after)
    return (
        first is not None
        and second is not None
        and first.shape == second.shape
        and bool((np.abs(first - second) <= _SAME_PERCENT).all())
    )


def _labels(parts: list[dict[str, Any]]) -> list[str]:
    """Of the first item that has any. What a perRegion <Choices> says of a region is no label."""
    for part in parts:
        keys = [key for key in (part.get("type"), "labels") if isinstance(key, str) and key.endswith("labels")]
        found = next((labels for key in keys if isinstance(labels := part["value"].get(key), list)), [])
        labels = [_storable(label) for label in found if isinstance(label, str)]
        if labels:
            return list(dict.fromkeys(labels))
    return []


def _storable(text: str) -> str:
    """ValueError for a text that no database takes: it would cost the event's other annotations, too."""
    if "\0" in text:
        raise ValueError("a text with a NUL")
    text.encode()
    return text
