"""Masks drawn over their images."""

import numpy as np
import pytest
from PIL import Image

from argenseg_model.overlays import COLOURS, draw_overlay


def test_an_overlay_tints_the_mask_and_outlines_it() -> None:
    image, mask = Image.new("RGB", (20, 10), (100, 100, 100)), np.zeros((10, 20), bool)
    mask[2:8, 3:9] = True
    pixels = np.asarray(draw_overlay(image, mask, (200, 0, 0), opacity=0.5))
    assert pixels[2, 3].tolist() == [200, 0, 0]
    assert pixels[5, 5].tolist() == [150, 50, 50]
    assert (pixels[~mask] == 100).all()
    assert np.asarray(image)[2, 3].tolist() == [100, 100, 100]
    assert draw_overlay(image, ~mask & mask) == image
    assert len(set(COLOURS)) == len(COLOURS)
    with pytest.raises(ValueError, match="height, width"):
        draw_overlay(image, mask.T)
