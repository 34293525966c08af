"""What the store hands out and takes: frozen, detached from any session, safe to pass between floors."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labeling.prompts.plan import PromptPlan

Delivery = Literal["sync", "push"]
PredictionStatus = Literal["wanted", "ready", "published", "delivered", "failed", "cancelled", "pruned"]
CorrectionKind = Literal["accepted", "edited", "deleted", "added"]


@dataclass(frozen=True)
class Project:
    """A project of one Label Studio. `id` is our row, `project_id` Label Studio's number."""

    id: int
    label_studio_url: str
    project_id: int
    label_config: str


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
class PredictedRegionRecord:
    """A region as it was predicted, in which of our predictions. `mask` is bool (height, width).

    `interactive`: it answered a prompt that an annotator typed, and was only a suggestion.
    """

    prediction_id: int
    region_id: str
    label: str | None
    prompt: str
    score: float | None
    mask: NDArray[np.bool_]
    model_version: str
    interactive: bool


@dataclass(frozen=True)
class EventRecord:
    """A webhook's payload as it came. `note` says what was skipped in it."""

    id: int
    action: str
    payload: dict[str, Any]
    label_studio_url: str | None
    received_at: datetime
    processed_at: datetime | None
    error: str | None
    note: str | None


@dataclass(frozen=True)
class Correction:
    """What an annotator made of one region. Masks are bool (height, width), None where there was none on that side.

    `iou` is between the two masks (0 for deleted and added ones). `lead_time_s` is Label Studio's own count of seconds
    for the whole annotation, idle time included; `capped_lead_time_s` is at most 600 s for each of its regions.
    """

    annotation_id: int
    task_id: int
    region_id: str
    label: str | None
    kind: CorrectionKind
    mask_before: NDArray[np.bool_] | None
    mask_after: NDArray[np.bool_] | None
    iou: float
    annotator_id: int | None
    lead_time_s: float | None
    capped_lead_time_s: float | None
    model_version: str | None


@dataclass(frozen=True)
class CorrectionRecord:
    """A stored correction; its masks are read with `Store.read_mask(digest)`."""

    id: int
    event_id: int
    project_id: int
    annotation_id: int
    task_id: int
    region_id: str
    label: str | None
    kind: CorrectionKind
    mask_before: str | None
    mask_after: str | None
    iou: float
    annotator_id: int | None
    lead_time_s: float | None
    capped_lead_time_s: float | None
    model_version: str | None
