"""What the store tells about work on whole projects: frozen, detached from any session."""

from dataclasses import dataclass
from typing import Any, Literal

from labeling.store.records import PredictionStatus

RunOutcome = Literal["finished", "cancelled"]


@dataclass(frozen=True)
class RunOptions:
    """What a run over a project was asked to do. `limit`: at most so many tasks."""

    only_unlabeled: bool = False
    limit: int | None = None
    pin: bool = False


@dataclass(frozen=True)
class PredictionRun:
    """A run over a project; `outcome` is None while it is open. `wanted` counts the tasks that it has put to work."""

    id: int
    model_version: str
    options: RunOptions
    wanted: int
    outcome: RunOutcome | None = None


@dataclass(frozen=True)
class UnpredictedTask:
    """A task that could not be predicted or sent, or not yet, with the reason for people."""

    prediction_id: int
    task_id: int
    reason: str


@dataclass(frozen=True)
class Delay:
    """So many predictions are still `wanted` or `ready` because of an outage, with the reason for people."""

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
    """What a task asked, and its data, when what we sent last was wished for."""

    plan_digest: str
    task_data: dict[str, Any]


@dataclass(frozen=True)
class HeldBackPrediction:
    """One of our predictions that is not sent while somebody annotates the task, and what it answers."""

    id: int
    task_id: int
    plan_digest: str


@dataclass(frozen=True)
class AnsweredPrediction:
    """One of our predictions that answered an opened page: Label Studio never told its number there."""

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
