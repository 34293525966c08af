"""What an annotator just did on the labeling page: typed a text, or drew smart boxes or points."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from labeling.prompts.focus import Box, Focus, Point
from labeling.prompts.label_config import LabelConfig
from labeling.regions.percent import given

_MAX_SHAPES = 100  # more boxes or points of one label than anybody draws before accepting


@dataclass(frozen=True)
class Interaction:
    """A typed text, or a focus with the label that it was drawn for (None: with no label)."""

    text: str | None = None
    focus: Focus | None = None
    label: str | None = None


def read_interaction(regions: Iterable[dict[str, Any]], config: LabelConfig) -> Interaction | None:
    """The newest thing that was done, from the regions of an interactive context; None if there is none that we know.

    Smart boxes, or points, of one label that were drawn one after the other come together, until the annotator accepts.
    What is malformed in them is left out.
    """
    known = [region for region in regions if _is_on(region, config)]
    texts = [
        text for region in known if _tag(region) == ("textarea", config.text_prompt_tag) for text in _texts(region)
    ]
    if texts:
        return Interaction(texts[-1])
    drawn = [region for region in known if _shape(region) is not None]
    if not drawn:
        return None
    newest = drawn[-1]
    same = [region for region in drawn if (_tag(region), _label(region)) == (_tag(newest), _label(newest))]
    shapes = [shape for region in same[-_MAX_SHAPES:] if (shape := _shape(region)) is not None]
    boxes = tuple(shape for shape in shapes if isinstance(shape, Box))
    points = tuple(shape for shape in shapes if isinstance(shape, Point))
    return Interaction(focus=Focus(boxes, points), label=_label(newest))


def _is_on(region: dict[str, Any], config: LabelConfig) -> bool:
    return given(region, "to_name", config.image.name) == config.image.name and isinstance(region.get("value"), dict)


def _tag(region: dict[str, Any]) -> tuple[Any, Any]:
    return region.get("type"), region.get("from_name")


def _texts(region: dict[str, Any]) -> list[str]:
    texts = region["value"].get("text")
    return [text for text in (texts if isinstance(texts, list) else [texts]) if isinstance(text, str) and text.strip()]


def _label(region: dict[str, Any]) -> str | None:
    """The region's first label: Label Studio names them by the tag ("rectanglelabels"), for points by "labels" too."""
    for key in (str(region.get("type")), "labels"):
        labels = region["value"].get(key)
        if isinstance(labels, list) and labels and isinstance(labels[0], str):
            return str(labels[0])
    return None


def _shape(region: dict[str, Any]) -> Box | Point | None:
    value, kind = region["value"], str(region.get("type")).removesuffix("labels")
    if kind == "keypoint":
        x, y = _number(value.get("x")), _number(value.get("y"))
        inside = 0 <= x <= 100 and 0 <= y <= 100  # NaN compares false
        return Point(x, y, region.get("is_positive") is not False) if inside else None
    if kind == "rectangle":
        numbers = [_number(given(value, name, 0)) for name in ("x", "y", "width", "height", "rotation")]
        box = Box(*numbers)
        return box if all(abs(number) <= 1000 for number in numbers) and box.width > 0 < box.height else None
    return None


def _number(value: Any) -> float:
    """NaN where it is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
    return float(value) if is_number else math.nan
