"""Between a task's plan and the model: the questions to ask, and the prediction that its answers make."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from argenseg_model.instances import drop_small, label_instances
from labeling.errors import LabelingError
from labeling.predictions import PredictedMask, Prediction, build_prediction, validate_prediction
from labeling.prompts.focus import Window, fill_doubtful_boxes, focus_window, limit_to_focus, widen_window
from labeling.prompts.label_config import LabelConfig
from labeling.prompts.plan import PromptedLabel, PromptPlan
from labeling.prompts.wording import distinct_prompts, question_key
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.kinds import ONE_OBJECT_KINDS, most_regions

logger = logging.getLogger(__name__)

ALIKE_IOU = 0.5  # from here on two masks are one thing drawn twice: less than half of them both is the one's alone


class Answer(Protocol):
    """The model's answer to one question: `mask` bool (height, width) of the upright image, `score` 0..1.

    The score of an empty mask is how certain the model is that there is nothing.
    """

    @property
    def mask(self) -> NDArray[np.bool_]: ...

    @property
    def score(self) -> float: ...


@dataclass(frozen=True)
class _Object:
    """A piece of a label's mask that becomes one region (or several, where the region's kind needs them)."""

    item: PromptedLabel
    shape: CroppedMask
    score: float


def questions(plan: PromptPlan) -> tuple[str, ...]:
    """What to ask the model about the task's image; prompts that sound alike are one question.

    LabelingError if there is nothing to ask.
    """
    if not plan.items:
        raise LabelingError(
            "There is nothing to look for: the label config has no prompts, or none for the label of a smart tool."
        )
    return distinct_prompts(prompt for item in plan.items for prompt in (item.prompt, *item.exclude))


def image_window(plan: PromptPlan, width: int, height: int) -> Window | None:
    """The part of the image that the questions are about; None: all of it."""
    focus = plan.items[0].focus if plan.items else None
    return None if focus is None else focus_window(focus, width, height)


def second_window(plan: PromptPlan, answers: Mapping[str, Answer], asked: Window | None) -> Window | None:
    """The larger part of the image to ask about too, if the object under a point goes on beyond what was `asked`.

    None: these answers are enough, as are those of a model that looked at the whole image.
    """
    focus = plan.items[0].focus if plan.items else None
    if asked is None or focus is None or focus.boxes:
        return None
    found = np.any([answer.mask for answer in answers.values()], axis=0)
    left, top, right, bottom = asked
    sees_more = int(found.sum()) > int(found[top:bottom, left:right].sum())
    if sees_more or widen_window(asked, found) == asked:
        return None
    wider = widen_window(asked, label_mask(plan.items, answers))
    return None if wider == asked else wider


def finds_more(plan: PromptPlan, second: Mapping[str, Answer], first: Mapping[str, Answer]) -> bool:
    """Whether the second answers have more of the plan's one label: a second look can also see less of an object."""
    return int(label_mask(plan.items, second).sum()) > int(label_mask(plan.items, first).sum())


def build_answer(
    plan: PromptPlan, config: LabelConfig, answers: Mapping[str, Answer], model_version: str
) -> Prediction:
    """The prediction made of the model's answers to `questions(plan)`, checked against the label config.

    A label's mask is the union of its prompts' answers, less those of its `exclude`; then the label's options count.
    Its regions' scores are those of the answers they came from, by area. A prediction without regions has the score of
    the least certain answer, so that uncertainty sampling shows a doubtful "nothing here" early and a certain one late.

    RegionError if it does not fit the label config.
    """
    height, width = next(iter(answers.values())).mask.shape
    by_key = _by_key(answers)
    objects = [found for _, items in groupby(plan.items, _place) for found in _find_objects(list(items), answers)]
    prediction = build_prediction(
        (
            PredictedMask(
                label=found.item.label,
                prompt=found.item.prompt,
                from_name=found.item.from_name,
                to_name=found.item.to_name,
                region_type=found.item.region_type,
                shape=found.shape,
                score=found.score,
                tolerance=found.item.options.tolerance,
            )
            for found in _resolve_overlaps(_best_of_alike(objects))
        ),
        model_version,
        width,
        height,
        empty_score=min(float(by_key[question_key(item.prompt)].score) for item in plan.items),
    )
    validate_prediction(prediction, config)
    return prediction


def _place(item: PromptedLabel) -> tuple[str, str | None]:
    return item.from_name, item.label


def label_mask(items: Sequence[PromptedLabel], answers: Mapping[str, Answer]) -> NDArray[np.bool_]:
    """What the answers to a label's prompts make together, (height, width): joined, excluded, limited to the focus.

    `items` are those of a plan that belong to one label, `answers` by question as in `build_answer`.
    """
    options, by_key = items[0].options, _by_key(answers)
    mask = np.zeros(next(iter(answers.values())).mask.shape, np.bool_)
    for item in items:
        answer = by_key[question_key(item.prompt)]
        if answer.score >= options.score_threshold:
            mask |= answer.mask
    for prompt in items[0].exclude:
        excluded = by_key[question_key(prompt)]
        if excluded.score >= options.score_threshold:
            mask &= ~excluded.mask
    focus = items[0].focus
    return mask if focus is None else fill_doubtful_boxes(limit_to_focus(mask, focus), focus)


def _by_key(answers: Mapping[str, Answer]) -> dict[str, Answer]:
    return {question_key(question): answer for question, answer in answers.items()}


def _find_objects(items: Sequence[PromptedLabel], answers: Mapping[str, Answer]) -> Iterator[_Object]:
    """The objects of one label, from its prompts."""
    mask, by_key = label_mask(items, answers), _by_key(answers)
    asked = [(item, by_key[question_key(item.prompt)]) for item in items]
    asked = [(item, answer) for item, answer in asked if answer.score >= item.options.score_threshold]
    if not asked:
        return
    labels = _label_objects(mask, items[0])
    scores, best = _score_objects(labels, [answer for _, answer in asked])
    from scipy import ndimage  # half of what importing this module took, and the web process needs none of it

    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is not None:
            crop = labels[window] == number
            shape = CroppedMask(crop, window[0].start, window[1].start, *mask.shape)
            yield _Object(asked[best[number]][0], shape, float(scores[number]))


def _label_objects(mask: NDArray[np.bool_], item: PromptedLabel) -> NDArray[np.int32]:
    """Number the mask's objects from 1, (height, width); a mask that may be one region is one object."""
    options = item.options
    labels: NDArray[np.int32]
    if options.instances:
        labels = label_instances(mask, options.min_area)
    else:
        mask = drop_small(mask, options.min_area)
        if item.region_type not in ONE_OBJECT_KINDS:
            return mask.astype(np.int32)
        labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[1].astype(np.int32)
    return _limit_objects(labels, item)


def _limit_objects(labels: NDArray[np.int32], item: PromptedLabel) -> NDArray[np.int32]:
    """No more objects than the region's kind bears: the smallest become one, or none where a region holds only one."""
    areas: NDArray[np.intp] = np.bincount(labels.ravel())
    areas[0] = 0
    most, count = most_regions(item.region_type, labels.shape[1], labels.shape[0]), len(areas) - 1
    if count <= most:
        return labels
    number = np.arange(count + 1, dtype=np.int32)
    if item.region_type in ONE_OBJECT_KINDS:
        number[np.argsort(areas, kind="stable")[:-most]] = 0
        logger.warning("%r: of %d objects the %d largest are kept.", item.prompt, count, most)
    else:
        small = np.argsort(areas, kind="stable")[1 : count + 2 - most]
        number[small] = small.min()
        logger.warning("%r: of %d objects the %d smallest share a region.", item.prompt, count, len(small))
    return number[labels]


def _score_objects(
    labels: NDArray[np.int32], answers: Sequence[Answer]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """By number of object: the mean over its pixels of the best score that an answer with this pixel has; and the
    index of the answer that holds most of it."""
    count = int(labels.max()) + 1
    held, won = np.zeros((2, len(answers), count))
    open_labels = labels.copy()
    for index in sorted(range(len(answers)), key=lambda index: -answers[index].score):
        mask = answers[index].mask
        held[index] = np.bincount(labels[mask], minlength=count)
        won[index] = np.bincount(open_labels[mask], minlength=count)
        open_labels[mask] = 0
    scores = np.array([answer.score for answer in answers])
    return scores @ won / np.maximum(won.sum(axis=0), 1), held.argmax(axis=0)


def _best_of_alike(objects: Sequence[_Object]) -> list[_Object]:
    """Without those with overlaps="best" that are about the same as a more certain one of these."""
    kept: list[tuple[int, CroppedMask]] = []
    contested = [index for index, found in enumerate(objects) if found.item.options.overlaps == "best"]
    for index in sorted(contested, key=lambda index: -objects[index].score):
        shape = objects[index].shape.trimmed()
        if all(shape.iou(other) < ALIKE_IOU for _, other in kept):
            kept.append((index, shape))
    left_out = set(contested) - {index for index, _ in kept}
    return [found for index, found in enumerate(objects) if index not in left_out]


def _resolve_overlaps(objects: Sequence[_Object]) -> list[_Object]:
    """Give each pixel to the most certain of the objects with overlaps="score"; what is left of others may be empty."""
    contested = [index for index, found in enumerate(objects) if found.item.options.overlaps == "score"]
    resolved = list(objects)
    if len(contested) < 2:
        return resolved
    taken = np.zeros((objects[0].shape.height, objects[0].shape.width), np.bool_)
    for index in sorted(contested, key=lambda index: -objects[index].score):
        shape = objects[index].shape
        crop = drop_small(shape.crop & ~taken[shape.window], objects[index].item.options.min_area)
        taken[shape.window] |= crop
        resolved[index] = replace(objects[index], shape=replace(shape, crop=crop))
    return resolved
