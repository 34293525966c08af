"""How sure a trained model must be of an answer, found on scenes that it was not trained on."""

import numpy as np

from argenseg_model.metrics import iou
from argenseg_model.model import ARGenSeg
from argenseg_model.scenes import scene_sample

VALIDATION_SEED = 77
MOST = 0.15
"""No higher: a model that has forgotten scenes must not empty what it has learnt instead."""
_SCENES_AT_ONCE = 32


def choose_least_score(model: ARGenSeg, scenes: int) -> float:
    """The `least_score` up to MOST with the highest mean IoU over validation scenes, half asked for what is not there.

    An answer below it is emptied, which is worth 1 where nothing should be found and 0 elsewhere.
    """
    model.config.least_score = 0.0
    rng = np.random.default_rng(VALIDATION_SEED)
    samples = [scene_sample(rng, model.config.image_size, 3, absent_share=0.5) for _ in range(scenes)]
    scores, kept = [], []
    for start in range(0, scenes, _SCENES_AT_ONCE):
        some = samples[start : start + _SCENES_AT_ONCE]
        results = model.segment([sample.image for sample in some], [[sample.prompt] for sample in some])
        for sample, [result] in zip(some, results, strict=True):
            scores.append(result.certainty)
            kept.append(iou(result.mask, sample.mask))
    absent = np.array([not sample.mask.any() for sample in samples])
    return best_threshold(np.array(scores), np.array(kept), absent, MOST)


def best_threshold(scores: np.ndarray, kept: np.ndarray, emptied: np.ndarray, most: float = 1.0) -> float:
    """The threshold up to `most` with the highest total: `emptied` below it, `kept` from it on. All (n,), scores 0..1.

    It is 0, 1 or between two different scores.
    """
    order = np.argsort(scores)
    sorted_scores = scores[order]
    below = np.concatenate([[0.0], np.cumsum(emptied[order])])
    above = np.concatenate([np.cumsum(kept[order][::-1])[::-1], [0.0]])
    bounds = np.concatenate([[0.0], (sorted_scores[:-1] + sorted_scores[1:]) / 2, [1.0]])
    is_cut = np.concatenate([[True], sorted_scores[:-1] < sorted_scores[1:], [True]]) & (bounds <= most)
    return float(bounds[np.argmax(np.where(is_cut, below + above, -np.inf))])
