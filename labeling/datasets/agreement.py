"""Whom to believe where several annotators answered the same prompt about the same image.

1. A ground-truth annotation is right, whatever the others say.
2. Where anybody looked, answers that nobody looked at do not count.
3. Of one annotator the newest answer counts; of unknown ones each.
4. Where all answers agree (every pair at IoU >= 0.8; all empty), the one nearest to the others is taken.
5. Else nobody knows: the prompt is left out for this image, and the data set's report names it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from argenseg_model.metrics import iou
from labeling.datasets.evidence import Evidence

MIN_AGREEMENT = 0.8  # IoU


def agreed(evidence: Sequence[Evidence], mask_of: Callable[[Evidence], NDArray[np.bool_]]) -> Evidence | None:
    """The answer to believe; None if the annotators disagree. Masks must be of one image's size."""
    newest: dict[int | str, Evidence] = {}
    trusted = [each for each in evidence if each.ground_truth]
    trusted = trusted or [each for each in evidence if each.care != "untouched"] or list(evidence)
    for each in sorted(trusted, key=lambda each: (each.at, each.annotation)):
        newest[each.annotation if each.annotator_id is None else each.annotator_id] = each
    answers = list(newest.values())
    if len(answers) == 1:
        return answers[0]
    masks = [mask_of(each) for each in answers]
    if any(mask.shape != masks[0].shape for mask in masks):
        return None
    overlaps = np.array([[iou(first, second) for second in masks] for first in masks])
    if overlaps.min() < MIN_AGREEMENT:
        return None
    return answers[int(np.argmax(overlaps.sum(axis=1)))]
