"""Text to train the starter's byte-level BPE tokenizer on."""

from __future__ import annotations

import numpy as np

from argenseg_model.scenes import LEVELS, draw_scene, sample_prompt
from argenseg_model.scenes.prompts import absent_anywhere
from argenseg_model.scenes.vocabulary import (
    ANY_SHAPE,
    COLOUR_SYNONYMS,
    COLOURS,
    FOREIGN_OBJECTS,
    MICROSCOPY_WORDS,
    SHAPES,
    SIZES,
)
from recipes.starter.asking import wordings_of
from recipes.starter.names import NAMES
from recipes.starter.nuclei import NUCLEI_PROMPTS

_PROMPTS_PER_SCENE = 8


def _vocabulary() -> list[str]:
    """Every word on its own, so that none is missing however small the corpus."""
    words = [*FOREIGN_OBJECTS, *MICROSCOPY_WORDS, *NUCLEI_PROMPTS]
    for pairs in (*SHAPES.values(), ANY_SHAPE):
        words += [word for pair in pairs for word in pair]
    words += [shade for shades in COLOURS.values() for shade in shades]
    words += [word for name in NAMES.values() for forms in name.wordings for word in forms]
    words += [word for names in (*COLOUR_SYNONYMS.values(), *SIZES.values()) for word in names]
    return list(dict.fromkeys(words))


def prompt_corpus(seed: int, n: int) -> list[str]:
    """`n` prompts in the proportions of training, after every word of the vocabulary once; the same for the same seed.

    Half are about scenes of all levels, half about names of real pictures.
    """
    rng = np.random.default_rng(seed)
    corpus = _vocabulary()
    wanted = len(corpus) + n
    while len(corpus) < wanted:
        level = LEVELS[int(rng.random() * len(LEVELS))]
        scene = draw_scene(rng, 64, level)
        for _ in range(_PROMPTS_PER_SCENE):
            corpus.append(sample_prompt(scene, rng, level, absent=rng.random() < 0.25)[0])
        corpus.append(NUCLEI_PROMPTS[int(rng.random() * len(NUCLEI_PROMPTS))])
        corpus.append(absent_anywhere(rng))
        corpus += [wordings_of(rng, list(NAMES)[int(rng.random() * len(NAMES))]) for _ in range(_PROMPTS_PER_SCENE)]
    return corpus[:wanted]
