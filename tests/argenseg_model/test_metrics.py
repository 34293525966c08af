import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from argenseg_model.metrics import InstanceMatch, boundary_iou, ciou, giou, iou, match_instances

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))
pairs = shapes.flatmap(lambda shape: st.tuples(arrays.arrays(bool, shape), arrays.arrays(bool, shape)))
label_pairs = shapes.flatmap(
    lambda shape: st.tuples(*[arrays.arrays(np.uint16, shape, elements=st.integers(0, 4))] * 2)
)
EMPTY = np.zeros((6, 8), bool)


def box(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_iou_of_known_boxes() -> None:
    assert iou(box(0, 0, 10, 10), box(0, 5, 10, 15)) == pytest.approx(50 / 150)
    assert iou(box(0, 0, 10, 10).astype(np.uint8) * 255, box(0, 0, 10, 10)) == 1.0
    assert iou(EMPTY, EMPTY) == 1.0
    assert iou(EMPTY, ~EMPTY) == 0.0


@given(pairs)
def test_iou_laws(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    truth = len({*zip(*np.nonzero(a), strict=True)} & {*zip(*np.nonzero(b), strict=True)})
    union = len({*zip(*np.nonzero(a), strict=True)} | {*zip(*np.nonzero(b), strict=True)})
    assert iou(a, b) == iou(b, a) == (truth / union if union else 1.0)
    assert iou(a, a) == boundary_iou(a, a) == ciou([a], [a]) == 1.0
    assert ciou([a], [b]) == giou([a], [b]) == iou(a, b)
    assert boundary_iou(a, b) == boundary_iou(b, a)


def test_ciou_weighs_pixels_and_giou_images() -> None:
    predicted = [box(0, 0, 20, 20), box(0, 0, 1, 1), EMPTY]
    truths = [box(0, 0, 20, 20), box(5, 5, 6, 6), EMPTY]
    assert ciou(iter(predicted), iter(truths)) == pytest.approx(400 / 402)
    assert giou(predicted, truths) == pytest.approx((1 + 0 + 1) / 3)
    assert ciou([EMPTY], [EMPTY]) == giou([EMPTY], [EMPTY]) == 1.0


def test_boundary_iou_equals_the_reference_implementation() -> None:
    """Theirs (Cheng et al., boundary-iou-api): pad by 1, erode 3x3 as often as the width, take the rest."""

    def reference_boundary(mask: np.ndarray) -> np.ndarray:
        height, width = mask.shape
        dilation = max(1, round(0.02 * np.sqrt(height**2 + width**2)))
        padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=dilation)
        return mask - eroded[1 : height + 1, 1 : width + 1]

    rng = np.random.default_rng(1)
    for _ in range(20):
        shape = tuple(rng.integers(30, 400, 2))
        smooth = [cv2.GaussianBlur(rng.random(shape), (0, 0), 8) for _ in range(2)]
        a, b = [(s > np.median(s)).astype(np.uint8) for s in smooth]
        boundary_a, boundary_b = reference_boundary(a), reference_boundary(b)
        expected = (boundary_a & boundary_b).sum() / (boundary_a | boundary_b).sum()
        assert boundary_iou(a, b) == pytest.approx(expected)


def test_boundary_iou_sees_what_iou_forgives() -> None:
    large, shifted = box(0, 0, 300, 300, (400, 400)), box(6, 6, 306, 306, (400, 400))
    assert iou(large, shifted) > 0.9
    assert boundary_iou(large, shifted) < 0.45
    assert boundary_iou(EMPTY, EMPTY) == 1.0
    assert boundary_iou(EMPTY, ~EMPTY) == 0.0


def test_instances_are_matched_at_the_threshold() -> None:
    truth = 1 * box(0, 0, 10, 10) + 2 * box(0, 20, 10, 30) + 7 * box(20, 0, 30, 10)
    predicted = 5 * box(0, 0, 10, 10) + 300 * box(0, 20, 10, 25) + 2 * box(21, 11, 30, 20) + 3 * box(35, 50, 40, 60)
    match = match_instances(predicted, truth)
    assert match == InstanceMatch(matched=2, predicted=4, actual=3)  # the second is exactly one half
    assert (match.precision, match.recall, match.f1) == (2 / 4, 2 / 3, pytest.approx(4 / 7))
    assert match_instances(predicted, truth, threshold=0.51).matched == 1


def test_two_halves_of_an_object_match_once() -> None:
    truth = box(0, 0, 10, 20).astype(np.uint8)
    halves = 1 * box(0, 0, 10, 10) + 2 * box(0, 10, 10, 20)
    assert match_instances(halves, truth) == InstanceMatch(matched=1, predicted=2, actual=1)


def test_as_many_objects_as_possible_are_matched() -> None:
    # Below 0.5 an object can have several partners: a greedy choice of the best pair (1, 1) would leave only one match.
    predicted = np.array([[1, 1, 1, 1, 2]])
    truth = np.array([[2, 1, 1, 1, 1]])
    assert match_instances(predicted, truth, threshold=0.2).matched == 2


def test_nothing_to_find() -> None:
    empty, one = np.zeros((4, 4), np.int32), np.eye(4, dtype=np.int32)
    nothing = match_instances(empty, empty)
    assert (nothing.precision, nothing.recall, nothing.f1) == (1, 1, 1)
    for predicted, truth in ((empty, one), (one, empty)):
        match = match_instances(predicted, truth)
        assert (match.precision, match.recall, match.f1) == (0, 0, 0)
    full = np.ones((4, 4), np.int32)  # no background at all
    assert match_instances(full, full) == InstanceMatch(1, 1, 1)


@given(label_pairs)
def test_matching_agrees_with_pairwise_iou(pair: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, truth = pair
    objects = [{int(i) for i in np.unique(labels)} - {0} for labels in pair]
    above_half = sum(iou(predicted == i, truth == j) > 0.5 for i in objects[0] for j in objects[1])
    match = match_instances(
        predicted, truth, threshold=0.5 + 1e-9
    )  # above one half every object has one partner at most
    assert match == InstanceMatch(above_half, len(objects[0]), len(objects[1]))
    assert match_instances(predicted, predicted).f1 == 1.0


@pytest.mark.parametrize(
    ("predicted", "truth", "advice"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2), bool), "threshold it first"),
        (np.zeros((2, 2, 1), bool), np.zeros((2, 2), bool), "threshold it first"),
        (np.zeros((2, 3), bool), np.zeros((2, 2), bool), "different shapes"),
    ],
)
def test_masks_that_cannot_be_compared(predicted: np.ndarray, truth: np.ndarray, advice: str) -> None:
    for measure in (iou, boundary_iou, match_instances):
        with pytest.raises(ValueError, match=advice):
            measure(predicted, truth)


def test_sets_that_cannot_be_compared() -> None:
    for measure in (ciou, giou):
        with pytest.raises(ValueError, match="set is empty"):
            measure([], [])
        with pytest.raises(ValueError, match="shorter"):
            measure([EMPTY, EMPTY], [EMPTY])
    for threshold in (0, 1.5):
        with pytest.raises(ValueError, match="threshold"):
            match_instances(np.eye(2, dtype=int), np.eye(2, dtype=int), threshold)
