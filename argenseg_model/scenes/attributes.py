"""What a scene shows where, and which of these things a prompt names: targets for a model learning to see and read."""

from __future__ import annotations

import re

import numpy as np

from argenseg_model.scenes.drawing import Scene
from argenseg_model.scenes.vocabulary import COLOUR_SYNONYMS, COLOURS, MICROSCOPY_WORDS, SHAPES, SIZES

SEEN: tuple[str, ...] = (*COLOURS, *SHAPES, "small", "medium", "large")
"""What a pixel of a scene can be part of; a pixel of an object has one colour, one shape and one size."""

_WORDS: dict[str, tuple[str, ...]] = {
    **{colour: (*shades, *COLOUR_SYNONYMS.get(colour, ())) for colour, shades in COLOURS.items()},
    **{shape: tuple(word for forms in names for word in forms) for shape, names in SHAPES.items()},
    **SIZES,
    "left": ("left", "leftmost", "left-most"),
    "right": ("right", "rightmost", "right-most"),
    "top": ("top", "upper", "above", "over", "higher", "topmost", "highest", "uppermost"),
    "bottom": ("bottom", "lower", "below", "under", "beneath", "bottommost", "lowest"),
    "middle": ("middle", "center", "centre", "central"),
    "largest": ("largest", "biggest"),
    "smallest": ("smallest",),
    "relation": ("of the", "above", "over", "below", "under", "beneath", "higher than", "lower than"),
    "superlative": ("leftmost", "rightmost", "topmost", "highest", "uppermost", "bottommost", "lowest",
                    "left-most", "right-most"),
    "except": ("except", "but", "other than"),
    "and": ("and", "or"),
    "nucleus": MICROSCOPY_WORDS,
}  # fmt: skip
NAMED: tuple[str, ...] = tuple(_WORDS)
"""What a prompt can name."""

_PATTERNS = tuple(re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b", re.IGNORECASE) for words in _WORDS.values())


def seen(scene: Scene) -> np.ndarray:
    """(len(SEEN), side, side) bool: the visible pixels of each colour, shape and size."""
    maps = np.zeros((len(SEEN), *scene.image.shape[:2]), bool)
    for scene_object in scene.objects:
        for name in (scene_object.colour, scene_object.shape, scene_object.size):
            maps[SEEN.index(name)] |= scene_object.mask
    return maps


def named(prompt: str) -> np.ndarray:
    """(len(NAMED),) bool: what the prompt's words name, synonyms included."""
    return np.array([pattern.search(prompt) is not None for pattern in _PATTERNS])
