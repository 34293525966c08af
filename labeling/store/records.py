"""What the store hands out and takes: frozen, detached from any session, safe to pass between floors."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labeling.prompts.plan import PromptPlan
from labeling.regions.cropped_mask import CroppedMask

Delivery = Literal["sync", "push"]
PredictionStatus = Literal["wanted", "ready", "published", "delivered", "failed", "cancelled", "pruned", "held_back"]


@dataclass(frozen=True)
class Project:
    """A project of one Label Studio. `id` is our row, `project_id` Label Studio's number.

    `shown_version`: what its `model_version` was when we were last told: annotators see predictions of this version, or
    of that which the backend of this title tells; None: we were never told.
    """

    id: int
    label_studio_url: str
    project_id: int
    label_config: str
    shown_version: str | None = None


@dataclass(frozen=True)
class TaskWish:
    """A task that is to be predicted, and what is asked about it."""

    task_id: int
    task_data: dict[str, Any]
    plan: PromptPlan


@dataclass(frozen=True)
class WantedPrediction:
    """A task's prediction, from the wish to its delivery.

    `wanted` -> `ready` (computed) -> `published` (pushed through the API) or `delivered` (answered to /predict);
    or `failed`, or `cancelled` before it was computed. `pruned`: sent, then deleted there, as a newer one replaced it.
    `held_back`: computed, but an older one of ours stays for the task, because somebody annotates it.
    """

    id: int
    project: Project
    task_id: int
    task_data: dict[str, Any]
    plan: PromptPlan
    model_version: str
    delivery: Delivery
    interactive: bool
    status: PredictionStatus
    error: str | None
    result: list[dict[str, Any]] | None
    score: float | None
    attempts: int
    label_studio_prediction_id: int | None


@dataclass(frozen=True)
class Delivered:
    """An answer to Label Studio. `sent_s_ago`: since when it has this prediction already; None: since now."""

    prediction: WantedPrediction
    sent_s_ago: float | None


@dataclass(frozen=True)
class PredictedRegionRecord:
    """A region as it was predicted, in which of our predictions. `shape` is its mask.

    `interactive`: it answered a prompt that an annotator typed, and was only a suggestion.
    """

    prediction_id: int
    region_id: str
    label: str | None
    prompt: str
    score: float | None
    shape: CroppedMask
    model_version: str
    interactive: bool

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Bool (height, width)."""
        return self.shape.full()
