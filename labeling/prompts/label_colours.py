"""The colours that a label config gives its labels, as annotators see them."""

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring
from PIL import ImageColor

Colour = tuple[int, int, int]

_OTHERS: tuple[Colour, ...] = (  # where the config names none; told apart by the colour-blind too (Wong 2011)
    (86, 180, 233),
    (230, 159, 0),
    (204, 121, 167),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
)


def label_colours(label_config: str, labels: list[str | None]) -> dict[str | None, Colour]:
    """A colour (R, G, B) for each of the labels: its `background` in the config, else one of ours."""
    named = _named(label_config)
    return {label: named.get(label) or _OTHERS[place % len(_OTHERS)] for place, label in enumerate(labels)}


def _named(label_config: str) -> dict[str | None, Colour]:
    try:
        tags = list(fromstring(label_config).iter())
    except (ParseError, DefusedXmlException, ValueError, RecursionError):
        return {}
    found = {tag.get("value"): _colour(tag.get("background", "")) for tag in tags if tag.get("value")}
    return {label: colour for label, colour in found.items() if colour is not None}


def _colour(css: str) -> Colour | None:
    try:
        red, green, blue = ImageColor.getrgb(css)[:3]
    except ValueError:
        return None
    return red, green, blue
