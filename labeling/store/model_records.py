"""What the store tells about model versions and fine-tune runs: frozen, detached from any session."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from labeling.store.records import Project

ModelState = Literal["candidate", "accepted", "refused", "deleted"]
FinetuneStatus = Literal["wanted", "running", "promoted", "refused", "failed", "stopped"]


@dataclass(frozen=True)
class ModelVersion:
    """A fine-tuned model: `folder` is what a worker loads, `parent` the name or folder that it learnt from.

    `state`: a candidate is not judged yet; accepted and refused are the gate's word; deleted has no weights any more.
    `project` is None where it was made for all.
    """

    id: int
    name: str
    folder: str
    parent: str
    project: Project | None
    state: ModelState
    report: dict[str, Any] | None
    created_at: datetime


@dataclass(frozen=True)
class FinetuneRun:
    """A fine-tune run. `corrections` is how many that teach something the project had when it was wanted; `manifest` is
    None where it is to be made of the project's. `base` is set when it begins, `candidate` when it is sure that there
    is enough to learn from. `attempts` counts those that an outage ended; the next is `not_before` a time, and `error`
    says why. `asked_again`: somebody asked for a run while this one was open.
    """

    id: int
    slot: str
    project: Project | None
    manifest: str | None
    status: FinetuneStatus
    corrections: int
    candidate: str | None
    base: str | None
    stop_requested: bool
    asked_again: bool
    attempts: int
    not_before: datetime | None
    error: str | None
    report: dict[str, Any] | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class FinetuneSchedule:
    """When to fine-tune: at the times of a cron expression, and after so many new corrections; None: never by that."""

    cron: str | None
    corrections: int | None
