"""Changes that are no verdict on a mask: a click that slipped, an outline that was touched and let go."""

SLIP_PIXELS = 4
"""What a click by mistake leaves: a dot of 2 x 2 pixels."""

SLIP_SHARE = 0.005
"""Of both masks together: of an object of 100 x 100 pixels, half of one of its edges by one pixel. Annotators who are
asked for the same object again are taken to agree from IoU 0.8 on (data sets); this is a fortieth of that room."""


def is_slip(*, iou: float, changed_pixels: int, label_before: str | None, label: str | None) -> bool:
    """Whether a region that was edited was, for all that can be seen, left as it was predicted. Never where its label
    was changed.
    """
    return label_before == label and (changed_pixels <= SLIP_PIXELS or 1.0 - iou <= SLIP_SHARE)
