"""Objects of a mask, one by one."""

import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from argenseg_model.instances import drop_small, label_instances

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


def discs(*places: tuple[int, int, int], height: int = 60, width: int = 120) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    for x, y, radius in places:
        cv2.circle(mask, (x, y), radius, 1, -1)
    return mask > 0


@given(MASKS)
def test_every_pixel_is_of_one_connected_object(mask: np.ndarray) -> None:
    labels = label_instances(mask)
    assert np.array_equal(labels > 0, mask)
    count = int(labels.max())
    assert set(np.unique(labels)) - {0} == set(range(1, count + 1))
    for number in range(1, count + 1):
        assert cv2.connectedComponents((labels == number).astype(np.uint8), connectivity=8)[0] == 2
    first_seen = [int(np.flatnonzero(labels == number)[0]) for number in range(1, count + 1)]
    assert first_seen == sorted(first_seen)


@pytest.mark.parametrize("gap", [30, 36, 40])
def test_touching_discs_are_split_at_their_waist(gap: int) -> None:
    mask = discs((30, 30, 20), (30 + gap, 30, 20))
    labels = label_instances(mask)
    assert labels.max() == 2
    _, columns = np.nonzero(labels == 1)
    assert abs(int(columns.max()) - (30 + gap / 2)) <= 1.5


@pytest.mark.parametrize(
    "mask",
    [
        discs((40, 30, 25)),
        discs((30, 30, 20), (42, 30, 20)),
        cv2.ellipse(np.zeros((60, 120), np.uint8), (60, 30), (50, 12), 20, 0, 360, 1, -1) > 0,
        np.ones((30, 50), np.bool_),
        np.pad(np.ones((1, 50), np.bool_), 3),
    ],
    ids=["disc", "nearly one disc", "ellipse", "everything", "line"],
)
def test_one_object_stays_one(mask: np.ndarray) -> None:
    assert label_instances(mask).max() == 1


def test_a_rough_outline_is_no_waist() -> None:
    rough = discs((60, 30, 24)) ^ (np.random.default_rng(0).random((60, 120)) < 0.5) & (
        discs((60, 30, 25)) ^ discs((60, 30, 23))
    )
    labels = label_instances(rough, min_area=20)
    assert labels.max() == 1 and (labels > 0).sum() > 0.95 * rough.sum()


def test_small_pieces_are_left_out() -> None:
    mask = discs((30, 30, 20), (90, 30, 3))
    assert label_instances(mask).max() == 2
    labels = label_instances(mask, min_area=50)
    assert labels.max() == 1 and not labels[:, 80:].any()
    assert np.array_equal(drop_small(mask, 50), discs((30, 30, 20)))


def test_an_empty_mask_has_no_objects() -> None:
    assert label_instances(np.zeros((3, 4), np.bool_)).tolist() == [[0] * 4] * 3


def test_noise_of_a_megapixel_ends_soon() -> None:
    began = time.process_time()
    label_instances(np.random.default_rng(0).random((1000, 1000)) < 0.7)
    assert time.process_time() - began < 60
