"""How far the predictions of a project are, in words."""

import math
from dataclasses import dataclass
from datetime import datetime

from backend.operations.projects.predict import Progress, look
from labeling.errors import StoreError
from labeling.versions import weights_of
from worker.errors import QueueUnreachable
from worker.projects.open_project import OpenProject
from worker.queue.queues import GPU, live_workers


@dataclass(frozen=True)
class Standing:
    """What is shown at one moment. `seconds_left` is of what workers can do now, None while nothing is measured.

    `postponed` tasks wait for an outage to end; `reason` is that of most of them. `cancelled` ones were taken back
    meanwhile: they are not done.
    """

    done: int
    total: int
    failed: int
    waiting_to_be_sent: int
    workers: int
    seconds_left: float | None
    postponed: int = 0
    reason: str = ""
    cancelled: int = 0

    def text(self) -> str:
        """All but the count, in words."""
        parts = [f"{self.failed} failed"] if self.failed else []
        if self.cancelled:
            parts.append(f"{self.cancelled} taken back")
        if not self.workers and self.done + self.cancelled < self.total:
            parts.append("no worker is running (argenseg up, or argenseg worker)")
        elif self.waiting_to_be_sent and self.waiting_to_be_sent == self.total - self.done - self.cancelled:
            parts.append(f"{self.waiting_to_be_sent} wait to be sent")
        elif self.seconds_left is not None:
            parts.append(f"about {duration(self.seconds_left)} left")
        if self.postponed and self.done < self.total:
            parts.append(f"{self.postponed} postponed: {self.reason}")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Such as "45 s", "12 min", "3 h 20 min": rounded up, never too exact."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def look_if_idle(project: OpenProject) -> Progress | None:
    """How far the project is; None if the store is busy just now."""
    try:
        return look(project)
    except StoreError as error:
        if not error.is_transient:
            raise
        return None


def current_standing(
    project: OpenProject, progress: Progress, began: datetime, before: Progress, total: int
) -> Standing:
    """Where a run of `total` tasks is that began with `before`."""
    cancelled = min(max(progress.cancelled - before.cancelled, 0), total - progress.under_way)
    weights = weights_of(project.version)
    pace = project.store.progress.pace(weights=weights, project=project.project, since=began)
    try:
        workers = live_workers(project.connection, GPU)
    except QueueUnreachable:  # it may be starting again; the work is in the store
        workers = 0
    delays = project.store.progress.delays(project.project, project.version)
    can_compute = progress.requested - sum(delay.tasks for delay in delays if delay.status == "requested")
    return Standing(
        done=total - progress.under_way - cancelled,
        total=total,
        failed=max(progress.failed - before.failed, 0),
        cancelled=cancelled,
        waiting_to_be_sent=progress.ready,
        workers=workers,
        seconds_left=None if pace is None or can_compute <= 0 else pace.seconds_per_task * can_compute,
        postponed=sum(delay.tasks for delay in delays),
        reason=delays[0].reason if delays else "",
    )
