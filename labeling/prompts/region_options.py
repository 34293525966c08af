"""How a label's masks become regions: attributes of the control tag, which a label may override."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal
from xml.etree.ElementTree import Element

from labeling.errors import LabelConfigError

Overlaps = Literal["keep", "score", "best"]


@dataclass(frozen=True)
class RegionOptions:
    """`instances`: one region for each object, touching ones are split. `min_area` (px): smaller objects are left out.

    `tolerance` (px): how far a polygon's outline may move. `score_threshold` (0..1): answers below it are left out.
    `overlaps`: "score" gives each pixel to the most certain region of those with the same option; "best" keeps only the
    most certain of those that are about the same, whatever their labels.
    """

    instances: bool = False
    min_area: int = 0
    tolerance: float = 1.0
    score_threshold: float = 0.0
    overlaps: Overlaps = "keep"


DEFAULT_OPTIONS = RegionOptions()


def read_options(tag: Element, where: str, base: RegionOptions) -> RegionOptions:
    """`base` with what the tag's attributes say. LabelConfigError says where what is wrong, and what would be right."""
    changes: dict[str, Any] = {}
    for name, (field, read, example) in _ATTRIBUTES.items():
        if text := tag.get(name, "").strip():
            try:
                changes[field] = read(text)
            except ValueError as error:
                raise LabelConfigError(
                    f'{where} has {name}="{text[:40]}": {error}, such as {name}="{example}".'
                ) from None
    return replace(base, **changes)


def _true_or_false(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("give true or false")
    return text.lower() == "true"


def _area(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError("give a whole number of pixels")
    return int(text)


def _number(text: str, maximum: float, advice: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= maximum:  # NaN compares false
        raise ValueError(advice)
    return number


def _overlaps(text: str) -> Overlaps:
    if text == "keep":
        return "keep"
    if text == "score":
        return "score"
    if text == "best":
        return "best"
    raise ValueError('give "score" (each pixel to the most certain region), "best" (one of those alike) or "keep"')


_ATTRIBUTES = {
    "instances": ("instances", _true_or_false, "true"),
    "min_area": ("min_area", _area, "20"),
    "tolerance": ("tolerance", lambda text: _number(text, 100, "give a number of pixels from 0 to 100"), "1.5"),
    "model_score_threshold": ("score_threshold", lambda text: _number(text, 1, "give a number from 0 to 1"), "0.5"),
    "overlaps": ("overlaps", _overlaps, "score"),
}
