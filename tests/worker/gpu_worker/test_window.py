"""A question about a part of the image: the same answer as for that part alone, at its place in the whole image."""

from pathlib import Path

import numpy as np
from PIL import Image

from worker.gpu_worker.model_child import ModelOptions, Question, load_argenseg


def test_a_window_is_asked_alone_and_put_back(tmp_path: Path) -> None:
    pixels = np.full((150, 200, 3), 40, np.uint8)
    pixels[60:90, 80:110] = (220, 60, 200)
    window = (64, 40, 128, 104)
    whole, part = tmp_path / "whole.png", tmp_path / "part.png"
    Image.fromarray(pixels).save(whole)
    Image.fromarray(pixels).crop(window).save(part)
    segment = load_argenseg(ModelOptions("starter", "cpu", 10**6))
    [[(mask, score)], [(alone, alone_score)]] = segment(
        [Question(whole, ("all objects",), window), Question(part, ("all objects",))]
    )
    assert mask.shape == (150, 200) and mask.any()
    assert np.array_equal(mask[40:104, 64:128], alone) and mask.sum() == alone.sum()
    assert abs(score - alone_score) < 1e-3
