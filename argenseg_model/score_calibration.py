"""What a score says: the chance that an answer's IoU with the truth is at least 0.75, by kind of prompt.

The curves are fitted on pictures that no weights were trained on (`recipes.starter.calibrate`) and lie in the model's
config.json. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from argenseg_model.chosen_objects import Choice, says_only
from argenseg_model.known_names import Known

GOOD_IOU = 0.75
KINDS = ("name", "choice", "described", "unknown")
"""Of prompts: all of one name; some of its objects, measured; with colours, shapes or relations; with unknown words."""
DRAWN, EMPTY = "drawn", "empty"


def kind_of(prompt: str, known: Known, choice: Choice | None) -> str:
    """Which of KINDS a prompt is."""
    if not known.is_known:
        return "unknown"
    if choice is not None:
        return "choice"
    return "name" if len(known.forms) == 1 and says_only(prompt, known.forms[0]) else "described"


def evidence(certainty: float, probability: NDArray[np.float32], mask: NDArray[np.bool_]) -> list[float]:
    """What a chance is read off: 1, and the log odds of the certainty and of how clearly the mask (H, W) is drawn."""
    clarity = float(probability[mask].mean()) if mask.any() else float(1 - probability.max())
    return [1.0, _log_odds(certainty), _log_odds(clarity)]


def chance(curve: Sequence[float], features: Sequence[float]) -> float:
    """The chance in 0..1 that a curve, which is a weight for each of the features, gives."""
    return float(1 / (1 + np.exp(-np.clip(np.dot(curve, features), -30, 30))))


def curve_of(curves: Mapping[str, Sequence[float]], kind: str, mask: NDArray[np.bool_]) -> Sequence[float] | None:
    """That of a kind of prompt and of what came out; None where none was fitted."""
    return curves.get(f"{kind} {DRAWN if mask.any() else EMPTY}")


def _log_odds(value: float) -> float:
    value = min(max(value, 1e-4), 1 - 1e-4)
    return float(np.log(value / (1 - value)))
