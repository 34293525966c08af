"""Between a task's plan and the model: the questions to ask, and the prediction that its answers make."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labeling.errors import LabelingError
from labeling.predictions import PredictedMask, Prediction, build_prediction, validate_prediction
from labeling.prompts.label_config import LabelConfig
from labeling.prompts.plan import PromptPlan


class Answer(Protocol):
    """The model's answer to one question: `mask` bool (height, width) of the upright image, `score` 0..1."""

    @property
    def mask(self) -> NDArray[np.bool_]: ...

    @property
    def score(self) -> float: ...


def questions(plan: PromptPlan) -> tuple[str, ...]:
    """What to ask the model about the task's image, each question once. LabelingError if there is nothing to ask."""
    if not plan.items:
        raise LabelingError("There is nothing to look for: the label config has no labels and no prompts.")
    return tuple(dict.fromkeys(item.prompt for item in plan.items))


def build_answer(
    plan: PromptPlan, config: LabelConfig, answers: Mapping[str, Answer], model_version: str
) -> Prediction:
    """The prediction made of the model's answers to `questions(plan)`, checked against the label config.

    RegionError if it does not fit the label config.
    """
    height, width = next(iter(answers.values())).mask.shape
    masks = [
        PredictedMask(
            label=item.label,
            prompt=item.prompt,
            from_name=item.from_name,
            to_name=item.to_name,
            region_type=item.region_type,
            mask=answers[item.prompt].mask,
            score=answers[item.prompt].score,
        )
        for item in plan.items
    ]
    prediction = build_prediction(masks, model_version, width, height)
    validate_prediction(prediction, config)
    return prediction
