"""How large a mask may be: a few bytes of a region must not claim all memory."""

from labeling.errors import RegionError

MAX_PIXELS = 100_000_000


def check_image_size(width: object, height: object) -> tuple[int, int]:
    """The size in px, if both are whole numbers (40.0 is one) and give 1 to 100 million pixels; else RegionError."""
    width, height = _whole(width), _whole(height)
    if type(width) is not int or type(height) is not int:
        raise RegionError(
            f"original_width and original_height must be whole numbers, not {width!r:.40}, {height!r:.40}."
        )
    if not 0 < width <= MAX_PIXELS or not 0 < height <= MAX_PIXELS or width * height > MAX_PIXELS:
        raise RegionError(f"A mask of {width!r:.40} x {height!r:.40} px is not between 1 and {MAX_PIXELS:,} pixels.")
    return width, height


def _whole(number: object) -> object:
    return int(number) if isinstance(number, float) and number.is_integer() else number
