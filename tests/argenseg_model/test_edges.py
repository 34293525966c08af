import numpy as np
from PIL import Image

from argenseg_model.edges import drop_specks, snap_to_edges
from argenseg_model.metrics import iou


def picture_and_coarse(side, size):
    """A bright disc, noisy, and its mask as a picture of side x side shows it."""
    ys, xs = np.mgrid[:size, :size]
    truth = (xs - size * 0.52) ** 2 + (ys - size * 0.47) ** 2 <= (size / 4) ** 2
    noise = np.random.default_rng(0).normal(0, 5, truth.shape)
    image = Image.fromarray(np.clip(60 + 120 * truth + noise, 0, 255).astype(np.uint8)).convert("RGB")
    small = Image.fromarray((truth * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BOX)
    coarse = np.asarray(small.resize((size, size), Image.Resampling.BILINEAR), np.float32) / 255
    return image, truth, coarse


def test_a_coarse_edge_comes_nearer_to_the_image_s_own():
    image, truth, coarse = picture_and_coarse(16, 256)
    snapped = snap_to_edges(coarse, image, radius=16)
    assert iou(snapped > 0.5, truth) > iou(coarse > 0.5, truth) + 0.01 and iou(snapped > 0.5, truth) > 0.98


def test_what_is_the_same_all_around_stays_as_it_is():
    image, _, _ = picture_and_coarse(16, 256)
    for value in (0.0, 0.3, 1.0):
        flat = np.full((256, 256), value, np.float32)
        assert np.allclose(snap_to_edges(flat, image, radius=9), flat, atol=1e-4)


def test_an_image_larger_than_the_filter_works_on_keeps_its_size():
    image, truth, coarse = picture_and_coarse(64, 2500)
    snapped = snap_to_edges(coarse, image, radius=40)
    assert snapped.shape == (2500, 2500) and iou(snapped > 0.5, truth) > 0.98


def test_specks_and_pinholes_go_and_everything_else_stays():
    probability = np.full((60, 60), 0.1, np.float32)
    probability[10:40, 10:40] = 0.9
    expected = probability.copy()
    probability[20, 20:22], probability[50, 50] = 0.2, 0.8  # two pixels of a hole, one of a speck
    probability[30:36, 30:36] = expected[30:36, 30:36] = 0.3  # a hole that was drawn
    cleaned = drop_specks(probability, least_area=9)
    assert np.array_equal(cleaned > 0.5, expected > 0.5)
    same = np.ones_like(cleaned, bool)
    same[20, 20:22] = same[50, 50] = False
    assert np.array_equal(cleaned[same], probability[same])
