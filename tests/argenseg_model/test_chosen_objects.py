import numpy as np
import pytest

from argenseg_model.chosen_objects import Choice, choice_of

SIZES = {"a": (20, 30, 12), "b": (70, 25, 16), "c": (30, 75, 8), "d": (75, 80, 10)}  # x, y, half the side
GREY = {"a": 90, "b": 120, "c": 200, "d": 40}


def field():
    """Four squares in a picture of 100 x 100: the mask, its grey values, and each square."""
    mask, grey, parts = np.zeros((100, 100), bool), np.zeros((100, 100), np.uint8), {}
    for name, (x, y, half) in SIZES.items():
        part = np.zeros_like(mask)
        part[y - half : y + half, x - half : x + half] = True
        mask |= part
        grey[part] = GREY[name]
        parts[name] = part
    return mask, grey, parts


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("the largest nucleus", "b"), ("The biggest nucleus.", "b"), ("smallest nucleus", "c"),
        ("the two largest nuclei", "ab"), ("all nuclei but the largest", "acd"), ("nuclei in the left half", "ac"),
        ("the nuclei on the right", "bd"), ("nuclei at the left hand side", "ac"), ("upper nuclei", "ab"),
        ("nuclei in the bottom half", "cd"), ("the rightmost nucleus", "d"), ("the topmost nucleus", "b"),
        ("the nucleus farthest to the left", "a"), ("the brightest nucleus", "c"), ("darkest nucleus", "d"),
        ("the largest nucleus in the left half", "a"), ("nuclei in the top left corner", "a"),
    ],
)  # fmt: skip
def test_words_choose_the_objects_that_they_name(prompt, meant):
    mask, grey, parts = field()
    choice = choice_of(prompt, "nuclei" if "nuclei" in prompt else "nucleus")
    assert choice is not None
    expected = np.any([parts[name] for name in meant], axis=0)
    assert np.array_equal(choice.of(mask, grey), expected)


@pytest.mark.parametrize(
    "prompt", ["all nuclei", "nuclei", "every nuclei", "the largest red nuclei", "nuclei left of it"]
)
def test_prompts_that_choose_nothing_or_say_more_are_left_to_the_model(prompt):
    assert choice_of(prompt, "nuclei") is None


def test_specks_are_not_the_smallest_and_nothing_stays_nothing():
    mask, grey, parts = field()
    speck = mask.copy()
    speck[99, 99] = True
    choice = Choice(order=("area", -1))
    assert np.array_equal(choice.of(speck, grey), parts["c"])
    assert not choice.of(np.zeros_like(mask), grey).any()


def test_an_object_belongs_to_a_half_by_its_centroid_and_is_kept_whole():
    mask = np.zeros((40, 100), bool)
    mask[10:20, 30:60] = True
    choice = choice_of("nuclei in the left half", "nuclei")
    assert choice is not None and np.array_equal(choice.of(mask, np.zeros(mask.shape, np.uint8)), mask)
