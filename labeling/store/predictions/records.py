"""What the store takes and hands out about predictions: frozen, detached from any session."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labeling.prompts.plan import PromptPlan
from labeling.regions.cropped_mask import CroppedMask
from labeling.store.projects import Project

Delivery = Literal["sync", "push"]
PredictionStatus = Literal[
    "requested", "ready", "published", "delivered", "failed", "cancelled", "pruned", "postponed_for_draft"
]
SENT_STATUSES: tuple[PredictionStatus, ...] = ("published", "delivered")  # of what Label Studio was given


@dataclass(frozen=True)
class TaskRequest:
    """A task that is to be predicted, and what is asked about it."""

    task_id: int
    task_data: dict[str, Any]
    plan: PromptPlan


@dataclass(frozen=True)
class PredictionRequest:
    """A task's prediction, from the request to its delivery.

    `requested` -> `ready` (computed) -> `published` (pushed through the API) or `delivered` (answered to /predict);
    or `failed`, or `cancelled` before it was computed. `pruned`: sent, then deleted there, as a newer one replaced it.
    `postponed_for_draft`: computed, but an older one of ours stays for the task, because somebody annotates it.
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

    prediction: PredictionRequest
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


@dataclass(frozen=True)
class UnpredictedTask:
    """A task that could not be predicted or sent, or not yet, with the reason for people."""

    prediction_id: int
    task_id: int
    reason: str


@dataclass(frozen=True)
class Delay:
    """So many predictions are still `requested` or `ready` because of an outage, with the reason for people."""

    status: PredictionStatus
    reason: str
    tasks: int


@dataclass(frozen=True)
class Pace:
    """Seconds a task, measured over `tasks` predictions: while several workers were busy, of all of them together."""

    seconds_per_task: float
    tasks: int


@dataclass(frozen=True)
class AnsweredTask:
    """What a task asked, and its data, when what we sent last was requested."""

    plan_digest: str
    task_data: dict[str, Any]


@dataclass(frozen=True)
class PostponedPrediction:
    """One of our predictions that is not sent while somebody annotates the task, and what it answers."""

    id: int
    task_id: int
    plan_digest: str


@dataclass(frozen=True)
class AnsweredPrediction:
    """One of our predictions that answered an opened page: Label Studio never gave its number there."""

    id: int
    task_id: int
    model_version: str


@dataclass(frozen=True)
class SentPrediction:
    """One of our predictions that Label Studio holds under `label_studio_id`."""

    id: int
    task_id: int
    model_version: str
    label_studio_id: int
