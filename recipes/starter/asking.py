"""What a view is asked: its names in many wordings, one or some of its objects, and what is surely not there."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from argenseg_model.scenes.prompts import absent_anywhere
from argenseg_model.scenes.vocabulary import FOREIGN_OBJECTS
from recipes.starter.names import APART, NAMES, SETS, UNMARKED, surely_absent
from recipes.starter.nuclei import NUCLEI_PROMPTS, STAINED_NUCLEI_PROMPTS
from recipes.starter.views import View

PICTURE = 64
LEAST_AREA = 24
"""Pixels of a view (of 65,536): a smaller object is asked for by no word of its own."""
_ALL = ("all {}", "all {}", "all the {}", "{}", "{}", "the {}", "find all {}", "segment the {}", "every one of the {}")
_ONE = ("every {}", "each {}", "{}", "the {}", "any {}")


@dataclass(frozen=True)
class Question:
    """A prompt, its kind ("name", "word", "absent") and the soft mask (64, 64) uint8 that answers it.

    `name` is the one that it is about, None if there is none in NAMES.
    """

    prompt: str
    kind: str
    name: str | None
    mask: NDArray[np.uint8]


def ask(
    rng: np.random.Generator, view: View, count: int, rarity: Mapping[str, float] = MappingProxyType({})
) -> list[Question]:
    """`count` questions about a view: names first, then words, and about a quarter of what is not there.

    `rarity` says how much more often than others (1) a name is asked for. Words are few: at inference they are measured
    on all objects of a name, and no longer asked of the language model.
    """
    if view.set == "scene":
        return _ask_scene(rng, view, count)
    present = sorted(view.objects)
    shares = np.array([rarity.get(name, 1.0) for name in present])
    apart = [name for name in present if name in APART and len(view.brightness[name]) > 1]
    questions = []
    for i in range(count):
        roll = rng.random()
        if not present or (i and roll < 0.3):
            questions.append(_absent(rng, view))
        elif apart and i and roll < 0.36:
            questions.append(some_of(rng, view, apart[rng.integers(len(apart))]))
        else:
            name = str(rng.choice(present, p=shares / shares.sum()))
            questions.append(
                Question(_all_of(rng, view, name), "name", name if name in NAMES else None, soft(view.labels(name) > 0))
            )
    return questions


def soft(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return cv2.resize(mask.astype(np.uint8) * 255, (PICTURE, PICTURE), interpolation=cv2.INTER_AREA)


def _empty() -> NDArray[np.uint8]:
    return np.zeros((PICTURE, PICTURE), np.uint8)


def _pick(rng: np.random.Generator, choices: tuple) -> object:
    return choices[int(rng.random() * len(choices))]


def _finish(rng: np.random.Generator, prompt: str) -> str:
    return prompt[0].upper() + prompt[1:] if rng.random() < 0.12 else prompt


def _wording(rng: np.random.Generator, name: str) -> tuple[str, str]:
    wordings = NAMES[name].wordings if name in NAMES else ((name, name + "s"),)
    return wordings[0] if rng.random() < 0.6 else wordings[rng.integers(len(wordings))]


def _all_of(rng: np.random.Generator, view: View, name: str) -> str:
    if name == "nucleus" and rng.random() < 0.6:
        return str(_pick(rng, STAINED_NUCLEI_PROMPTS if view.is_stained else NUCLEI_PROMPTS))
    singular, plural = _wording(rng, name)
    if rng.random() < 0.65:
        return _finish(rng, str(_pick(rng, _ALL)).format(plural))
    return _finish(rng, str(_pick(rng, _ONE)).format(singular))


def _ask_scene(rng: np.random.Generator, view: View, count: int) -> list[Question]:
    chosen = _half_absent(rng, view)[:count]
    questions = []
    for i in chosen:
        prompt, packed = view.asked[i]
        if rng.random() < 0.08:  # no disc is a nucleus
            absent = ("nucleus", "mushroom", "window", "embryo", "pellet")
            questions.append(_say_absent(rng, str(_pick(rng, absent))))
            continue
        mask = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(PICTURE, PICTURE)
        questions.append(Question(prompt, "word" if mask.any() else "absent", None, mask))
    return questions


def _half_absent(rng: np.random.Generator, view: View) -> list[int]:
    """Indices of a scene's prompts in random order; of every second scene half of the first are about the absent."""
    order = [int(i) for i in rng.permutation(len(view.asked))]
    if rng.random() < 0.5:
        return order
    is_there = {i: any(zlib.decompress(view.asked[i][1])) for i in order}
    there, absent = [i for i in order if is_there[i]], [i for i in order if not is_there[i]]
    mixed = [i for pair in zip(there, absent, strict=False) for i in (pair if rng.random() < 0.5 else pair[::-1])]
    paired = min(len(there), len(absent))
    return mixed + there[paired:] + absent[paired:]


def _say_absent(rng: np.random.Generator, name: str) -> Question:
    singular, plural = _wording(rng, name)
    words = str(_pick(rng, _ALL)).format(plural) if rng.random() < 0.65 else str(_pick(rng, _ONE)).format(singular)
    return Question(_finish(rng, words), "absent", name, _empty())


def _absent(rng: np.random.Generator, view: View) -> Question:
    own = tuple(name for name in SETS[view.set] if name not in view.objects and name not in UNMARKED)
    roll = rng.random()
    if roll < 0.06:
        return Question(nonsense(rng), "absent", None, _empty())
    if view.set == "nuclei":
        if roll < 0.5:
            return Question(absent_anywhere(rng, grey=not view.is_stained), "absent", None, _empty())
        if roll < 0.65:
            return Question(f"all {_pick(rng, FOREIGN_OBJECTS)}", "absent", None, _empty())
    if own and roll < 0.5:
        return _say_absent(rng, str(_pick(rng, own)))
    return _say_absent(rng, str(_pick(rng, surely_absent(view.set))))


def nonsense(rng: np.random.Generator) -> str:
    """Letters that are no word."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [
        "".join(letters[int(i)] for i in rng.integers(0, 26, rng.integers(3, 9))) for _ in range(rng.integers(1, 3))
    ]
    return " ".join(words)


def wordings_of(rng: np.random.Generator, name: str) -> str:
    """A prompt about a name, or some of its objects, with no picture in mind."""
    singular, plural = _wording(rng, name)
    plurals = (*_ALL, *(phrase for phrases, _, _ in _SIDES.values() for phrase in phrases))
    singulars = (*_ONE, *(phrase for phrases in (*_SIZES.values(), *_LIGHT.values()) for phrase in phrases))
    singulars += tuple(phrase for phrases, _, _ in _MOST.values() for phrase in phrases)
    words = (
        str(_pick(rng, plurals)).format(plural) if rng.random() < 0.5 else str(_pick(rng, singulars)).format(singular)
    )
    return _finish(rng, words)


_SIDES = {
    "left": (("{} in the left half", "the {} on the left", "left {}", "all {} on the left side", "{} on the left"),
             1, -1),
    "right": (("{} in the right half", "the {} on the right", "right {}", "all {} on the right side",
               "{} on the right"), 1, 1),
    "top": (("{} in the top half", "the {} at the top", "upper {}", "all {} in the upper half", "{} at the top"),
            0, -1),
    "bottom": (("{} in the bottom half", "the {} at the bottom", "lower {}", "all {} in the lower half"), 0, 1),
}  # fmt: skip
_MOST = {
    "left": (("the leftmost {}", "leftmost {}", "the {} farthest to the left"), 1, -1),
    "right": (("the rightmost {}", "rightmost {}", "the {} farthest to the right"), 1, 1),
    "top": (("the topmost {}", "the highest {}", "topmost {}"), 0, -1),
    "bottom": (("the bottommost {}", "the lowest {}", "bottommost {}"), 0, 1),
}
_SIZES = {
    "largest": ("the largest {}", "the largest {}", "largest {}", "the biggest {}"),
    "smallest": ("the smallest {}", "the smallest {}", "smallest {}"),
}
_LIGHT = {
    "brightest": ("the brightest {}", "brightest {}"),
    "darkest": ("the darkest {}", "darkest {}"),
}


def some_of(rng: np.random.Generator, view: View, name: str) -> Question:
    """One or some of a name's objects: by size, place, brightness, number, or all but some."""
    labels = view.labels(name)
    counts = np.bincount(labels.ravel())
    numbers = [int(n) for n in np.flatnonzero(counts) if n and counts[n] >= LEAST_AREA]
    if len(numbers) < 2:
        return Question(_all_of(rng, view, name), "name", name, soft(labels > 0))
    ys, xs = np.nonzero(labels)
    of = labels[ys, xs]
    total = np.maximum(np.bincount(of), 1)
    centres = np.stack([np.bincount(of, ys) / total, np.bincount(of, xs) / total], 1) / len(labels)
    singular, plural = _wording(rng, name)
    kind, roll = "", rng.random()
    if roll < 0.42:
        phrases, axis, sign = _SIDES[str(_pick(rng, tuple(_SIDES)))]
        chosen = [n for n in range(1, len(counts)) if counts[n] and (centres[n, axis] - 0.5) * sign > 0]
        prompt = str(_pick(rng, phrases)).format(plural)
    elif roll < 0.72:
        kind = str(_pick(rng, tuple(_SIZES)))
        order = sorted(numbers, key=lambda n: counts[n], reverse=kind == "largest")
        if kind == "largest" and rng.random() < 0.15 and len(order) > 2:
            chosen, prompt = order[:2], f"the two largest {plural}"
        elif kind == "largest" and rng.random() < 0.12:
            chosen, prompt = [n for n in numbers if n != order[0]], f"all {plural} but the largest"
        else:
            chosen, prompt = order[:1], str(_pick(rng, _SIZES[kind])).format(singular)
    elif roll < 0.87:
        phrases, axis, sign = _MOST[str(_pick(rng, tuple(_MOST)))]
        chosen = [max(numbers, key=lambda n: centres[n, axis] * sign)]
        prompt = str(_pick(rng, phrases)).format(singular)
    else:
        kind = str(_pick(rng, tuple(_LIGHT)))
        order = sorted(numbers, key=lambda n: view.brightness[name].get(n, 0.0), reverse=kind == "brightest")
        chosen, prompt = order[:1], str(_pick(rng, _LIGHT[kind])).format(singular)
    return Question(_finish(rng, prompt), "word", name, soft(np.isin(labels, chosen)))
