"""Pictures for people: a mask drawn over its image."""

from typing import Final

import cv2
import numpy as np
from PIL import Image

Colour = tuple[int, int, int]
COLOURS: Final[
    tuple[Colour, ...]
] = (  # told apart on grey, purple and dark images, also by the colour-blind (Wong 2011)
    (240, 228, 66),
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
)


def draw_overlay(
    image: Image.Image, mask: np.ndarray, colour: Colour = COLOURS[0], opacity: float = 0.35
) -> Image.Image:
    """A new RGB picture: the mask (H, W) bool, tinted with `colour` and outlined by it, over the image of that size.

    The outline lies inside the mask, about 1/500 of the diagonal wide (at least 1 px). An empty mask changes nothing.
    """
    pixels = np.array(image.convert("RGB"))
    if mask.shape != pixels.shape[:2]:
        raise ValueError(f"the mask is {mask.shape}, the image {pixels.shape[:2]} (height, width)")
    mask = mask.astype(bool)
    tinted = cv2.addWeighted(pixels, 1 - opacity, np.full_like(pixels, colour), opacity, 0)
    pixels[mask] = tinted[mask]
    width = max(1, round(float(np.hypot(*mask.shape)) / 500))
    eroded = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=width)
    pixels[mask & (eroded == 0)] = colour
    return Image.fromarray(pixels)
