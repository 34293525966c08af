"""Words that choose some objects of a kind: "the largest nucleus", "windows in the left half", "all but the smallest".

A model finds all of the kind; which of its objects are meant is measured on them. An object belongs to a half by its
centroid, and is kept whole. Needs no torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from argenseg_model.instances import label_instances

_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "2": 2, "3": 3, "4": 4, "5": 5}
_ORDERS = {  # word -> (what is measured, sign: the highest comes first)
    "largest": ("area", 1), "biggest": ("area", 1), "smallest": ("area", -1), "tiniest": ("area", -1),
    "leftmost": ("x", -1), "left-most": ("x", -1), "rightmost": ("x", 1), "right-most": ("x", 1),
    "topmost": ("y", -1), "highest": ("y", -1), "uppermost": ("y", -1), "bottommost": ("y", 1), "lowest": ("y", 1),
    "brightest": ("grey", 1), "lightest": ("grey", 1), "darkest": ("grey", -1), "dimmest": ("grey", -1),
}  # fmt: skip
_SIDES = {"left": ("x", -1), "right": ("x", 1), "top": ("y", -1), "upper": ("y", -1), "bottom": ("y", 1),
          "lower": ("y", 1)}  # fmt: skip
_PLAIN = frozenset(
    {"the", "a", "all", "every", "each", "any", "of", "in", "on", "at", "to", "with", "one", "ones", "that", "are"}
    | {"is", "which", "but", "except", "not", "half", "side", "hand", "part", "corner", "picture", "image", "farthest"}
    | {"most", "find", "segment", "mark", "select", "show", "me", "please", "outline", "highlight"}
)
WORDS = _PLAIN | _NUMBERS.keys() | _ORDERS.keys() | _SIDES.keys()
"""All words that may stand beside a name here."""
_EXCEPT = re.compile(r"\b(?:but|except)\b(?! the left\b)")
LEAST_SHARE = 0.05
"""Objects smaller than this share of the median one are specks: none of them is "the smallest"."""


@dataclass(frozen=True)
class Choice:
    """Which objects are meant.

    Attributes:
        sides: (axis "x" or "y", sign) of each half of the picture that they lie in.
        order: what they are sorted by, and its sign; None for all of them.
        count: how many come first.
        is_rest: all the others are meant.
    """

    sides: tuple[tuple[str, int], ...] = ()
    order: tuple[str, int] | None = None
    count: int = 1
    is_rest: bool = False

    def of(self, mask: NDArray[np.bool_], grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The part of a mask (H, W) of all of the kind that is meant, in a picture whose grey values are given."""
        labels = label_instances(mask)
        counts = np.bincount(labels.ravel())
        counts[0] = 0
        if not counts.any():
            return mask
        numbers = np.flatnonzero(counts >= max(1, LEAST_SHARE * np.median(counts[counts > 0])))
        ys, xs = np.nonzero(labels)
        of, total = labels[ys, xs], np.maximum(counts, 1)
        measured = {
            "area": counts.astype(float),
            "x": np.bincount(of, xs + 0.5, len(counts)) / total / mask.shape[1],
            "y": np.bincount(of, ys + 0.5, len(counts)) / total / mask.shape[0],
            "grey": np.bincount(of, grey[ys, xs], len(counts)) / total,
        }
        inside = np.array(
            [n for n in numbers if all((measured[axis][n] - 0.5) * sign > 0 for axis, sign in self.sides)]
        )
        chosen = inside
        if self.order and len(inside):
            key, sign = self.order
            chosen = inside[np.argsort(-sign * measured[key][inside], kind="stable")][: self.count]
        if self.is_rest:
            chosen = np.setdiff1d(np.flatnonzero(counts), chosen)
        return np.isin(labels, chosen) & (labels > 0)


def says_only(prompt: str, form: str) -> bool:
    """Whether a prompt says nothing beside a name's `form` but words that change nothing ("all", "the", "find")."""
    return all(word in _PLAIN for word in _words_beside(prompt, form))


def _words_beside(prompt: str, form: str) -> list[str]:
    words = re.sub(rf"(?<!\w){re.escape(form.lower())}(?!\w)", " ", prompt.lower())
    return re.findall(r"\w+(?:-\w+)*", words)


def choice_of(prompt: str, form: str) -> Choice | None:
    """The choice that a prompt makes among the objects of a kind, which it names by `form`; None if it makes none, or
    if it holds a word that does more than choose ("red", "beside")."""
    is_rest = _EXCEPT.search(prompt.lower()) is not None
    sides, order, count = [], None, 1
    found = _words_beside(prompt, form)
    for word in found:
        if word in _NUMBERS:
            count = _NUMBERS[word]
        elif word in _ORDERS and order is None:
            order = _ORDERS[word]
        elif word in _SIDES:
            sides.append(_SIDES[word])
        elif word not in _PLAIN:
            return None
    if "farthest" in found and len(sides) == 1 and order is None:
        order, sides = sides[0], []
    if not sides and order is None:
        return None
    return Choice(tuple(sides), order, count, is_rest)
