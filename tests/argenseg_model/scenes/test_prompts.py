"""The prompts are read back by an independent reader and answered by brute force over the objects of the scene."""

import re
from functools import cache

import numpy as np
import pytest

from argenseg_model.scenes import LEVELS, draw_scene, sample_prompt
from argenseg_model.scenes.prompts import ABSENT_KINDS, KINDS, absent_anywhere
from argenseg_model.scenes.vocabulary import COLOUR_SYNONYMS, COLOURS, SHAPES, SIZES

SHAPE_WORDS = {word: shape for shape, pairs in SHAPES.items() for pair in pairs for word in pair}
COLOUR_WORDS = {word: family for family, shades in COLOURS.items() for word in shades}
COLOUR_WORDS |= {word: family for family, words in COLOUR_SYNONYMS.items() for word in words}
SIZE_WORDS = {word: size for size, words in SIZES.items() for word in words}
SHADES = {word for shades in COLOURS.values() for word in shades} - set(COLOURS)
SIDES = {  # which half (axis, +1 for the right or lower one) a place's word means
    "left": ("x", -1), "right": ("x", 1), "top": ("y", -1), "upper": ("y", -1), "bottom": ("y", 1), "lower": ("y", 1),
}  # fmt: skip
RELATIONS = {
    "left of": ("x", -1), "right of": ("x", 1), "above": ("y", -1), "over": ("y", -1), "higher than": ("y", -1),
    "below": ("y", 1), "under": ("y", 1), "beneath": ("y", 1), "lower than": ("y", 1),
}  # fmt: skip
PROMPTS_PER_SCENE = 4
CASES = [(seed, level, absent) for seed in range(150) for level in LEVELS for absent in (False, True)]


def find_word(text, words):
    """The longest of `words` in the text, and its meaning."""
    for word in sorted(words, key=len, reverse=True):
        if re.search(rf"\b{word}\b", text):
            return word, words[word]
    return None, None


def read(text):
    """(shape, colour, shade or None, size) that a plain description names; None is any."""
    word, colour = find_word(text, COLOUR_WORDS)
    shade = word if word in SHADES else None
    return find_word(text, SHAPE_WORDS)[1], colour, shade, find_word(text, SIZE_WORDS)[1]


def answer(scene, text):
    shape, colour, shade, size = read(text)
    return [
        o
        for o in scene.objects
        if (shape or o.shape, colour or o.colour, shade or o.shade, size or o.size)
        == (o.shape, o.colour, o.shade, o.size)
    ]


@cache
def draw():
    drawn = []
    for seed, level, absent in CASES:
        rng = np.random.default_rng([seed, level, absent])
        scene = draw_scene(rng, 128, level)
        drawn += [(scene, level, absent, *sample_prompt(scene, rng, level, absent)) for _ in range(PROMPTS_PER_SCENE)]
    return drawn


def test_absent_prompts_are_empty_and_the_others_are_not():
    for _, level, absent, prompt, mask, kind in draw():
        assert prompt.strip() == prompt != ""
        assert mask.dtype == bool and mask.any() != absent, (prompt, kind)
        assert kind in (ABSENT_KINDS if absent else KINDS)[level]


def test_descriptions_are_answered_by_all_objects_that_fit():
    checked = set()
    for scene, _, _, prompt, mask, kind in draw():
        if kind in ("all", "colour", "shape", "colour shape", "size"):
            assert np.array_equal(mask, scene.union(answer(scene, prompt.lower()))), prompt
        elif kind in ("absent colour", "absent shape", "absent pair", "absent size"):
            assert not answer(scene, prompt.lower()), prompt
        checked.add(kind)
    assert checked >= {*KINDS[3], *ABSENT_KINDS[3]}


def test_places_are_answered_by_what_is_there():
    for scene, _, absent, prompt, mask, kind in draw():
        if kind not in ("position", "absent position"):
            continue
        sides = [side for word, side in SIDES.items() if re.search(rf"\b{word}\b", prompt.lower())]
        candidates = answer(scene, prompt.lower())
        there = [o for o in candidates if all(step * (getattr(o, axis) - 0.5) > 0 for axis, step in sides)]
        if not sides:  # the middle
            there = [o for o in candidates if max(abs(o.x - 0.5), abs(o.y - 0.5)) < 0.2]
        assert np.array_equal(mask, scene.union(there)) and bool(there) != absent, prompt


def test_relations_have_one_reference_and_are_answered_beside_it():
    seen = set()
    for scene, _, absent, prompt, mask, kind in draw():
        if kind not in ("relation", "absent relation"):
            continue
        word, (axis, step) = find_word(prompt.lower(), RELATIONS)
        target, reference = prompt.lower().split(word)
        (named,) = answer(scene, reference)  # or nobody knew which one is meant
        there = [o for o in answer(scene, target) if step * (getattr(o, axis) - getattr(named, axis)) > 0]
        assert np.array_equal(mask, scene.union(there)) and bool(there) != absent, prompt
        seen.add(word)
    assert {RELATIONS[word] for word in seen} == set(RELATIONS.values())


def test_superlatives_have_a_clear_winner():
    for scene, _, _, prompt, mask, kind in draw():
        if kind != "superlative":
            continue
        text = prompt.lower()
        text = re.sub(r"(left|right)-most", r"\1most", text)
        word = re.search(r"(\w+(most|est))\b", text).group(1)
        candidates = answer(scene, text)
        rank = {
            "largest": lambda o: o.area, "biggest": lambda o: o.area, "smallest": lambda o: -o.area,
            "leftmost": lambda o: -o.x, "rightmost": lambda o: o.x,
            "topmost": lambda o: -o.y, "uppermost": lambda o: -o.y, "highest": lambda o: -o.y,
            "bottommost": lambda o: o.y, "lowest": lambda o: o.y,
        }[word]  # fmt: skip
        assert len(candidates) >= 2 and np.array_equal(mask, max(candidates, key=rank).mask), prompt


def test_except_leaves_out_exactly_what_it_names():
    for scene, _, _, prompt, mask, kind in draw():
        if kind == "except":
            left_out = answer(scene, re.split(r"\b(?:except|but|other than)\b", prompt)[1])
            assert left_out and np.array_equal(mask, scene.union(scene.objects) & ~scene.union(left_out)), prompt


def test_several_is_the_union_of_its_parts():
    for scene, _, _, prompt, mask, kind in draw():
        if kind == "several":
            parts = re.split(r" and | or |, ", prompt.lower())
            expected = np.any([scene.union(answer(scene, part)) for part in parts], axis=0)
            assert len(parts) == 2 and np.array_equal(mask, expected), prompt


@pytest.mark.parametrize("absent", [False, True])
def test_prompts_of_one_scene_differ(absent):
    scene = draw_scene(np.random.default_rng(5))
    rng = np.random.default_rng(0)
    assert len({sample_prompt(scene, rng, 3, absent)[0] for _ in range(20)}) > 10


def test_level_three_asks_for_places_and_relations_a_quarter_of_the_time():
    kinds = []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        kinds.append(sample_prompt(draw_scene(rng), rng)[2])
    assert 0.18 < np.mean([kind in ("position", "relation", "superlative") for kind in kinds]) < 0.32


def test_what_is_absent_anywhere_names_no_grey_round_thing():
    rng = np.random.default_rng(0)
    for _ in range(500):
        shape, colour, _, _ = read(absent_anywhere(rng).lower())
        assert colour not in ("white", "gray", "black")
        assert colour or shape not in ("circle", "oval", "ring")
