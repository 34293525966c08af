"""Show how a run goes on: a bar on a terminal, a line now and then elsewhere."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from redis import RedisError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from backend.operations.projects.open_project import OpenProject
from backend.operations.projects.predict import Progress, look
from labeling.errors import StoreError
from worker.queue.queues import GPU, live_workers

_LOOK_EVERY_S = 1.0
_LINE_EVERY_S = 10.0


@dataclass(frozen=True)
class Standing:
    """What is shown at one moment. `seconds_left` is of what workers can do now, None while nothing is measured.

    `put_off` tasks wait for an outage to end; `reason` is that of most of them.
    """

    done: int
    total: int
    failed: int
    waiting_to_be_sent: int
    workers: int
    seconds_left: float | None
    put_off: int = 0
    reason: str = ""

    def text(self) -> str:
        """All but the count, in words."""
        parts = [f"{self.failed} failed"] if self.failed else []
        if not self.workers and self.done < self.total:
            parts.append("no worker is running (argenseg up, or argenseg worker)")
        elif self.waiting_to_be_sent and self.waiting_to_be_sent == self.total - self.done:
            parts.append(f"{self.waiting_to_be_sent} wait to be sent")
        elif self.seconds_left is not None:
            parts.append(f"about {duration(self.seconds_left)} left")
        if self.put_off and self.done < self.total:
            parts.append(f"{self.put_off} put off: {self.reason}")
        return ", ".join(parts)


def follow(project: OpenProject, console: Console, already_failed: int, total: int) -> Progress:
    """Show the progress until nothing is under way, and return how it ended. Ctrl-C ends the showing, not the work."""
    began = datetime.now(UTC)
    with _shown(console) as show:
        while True:
            if (progress := _look(project)) is not None:
                total = max(total, progress.under_way)
                show.send(_standing(project, progress, began, already_failed, total))
                if not progress.under_way:
                    return progress
            time.sleep(_LOOK_EVERY_S)


def duration(seconds: float) -> str:
    """Such as "45 s", "12 min", "3 h 20 min": rounded up, never too exact."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _look(project: OpenProject) -> Progress | None:
    """None if the store is busy just now."""
    try:
        return look(project)
    except StoreError as error:
        if not error.is_transient:
            raise
        return None


def _standing(project: OpenProject, progress: Progress, began: datetime, already_failed: int, total: int) -> Standing:
    weights = project.version.partition(" · ")[0]
    pace = project.store.pace(weights=weights, project=project.project, since=began)
    try:
        workers = live_workers(project.connection, GPU)
    except RedisError:  # it may be starting again; the work is in the store
        workers = 0
    delays = project.store.delays(project.project, project.version)
    can_compute = progress.wanted - sum(delay.tasks for delay in delays if delay.status == "wanted")
    return Standing(
        done=total - progress.under_way,
        total=total,
        failed=max(progress.failed - already_failed, 0),
        waiting_to_be_sent=progress.ready,
        workers=workers,
        seconds_left=None if pace is None or can_compute <= 0 else pace.seconds_per_task * can_compute,
        put_off=sum(delay.tasks for delay in delays),
        reason=delays[0].reason if delays else "",
    )


class _Shown:
    def send(self, standing: Standing) -> None:
        raise NotImplementedError


class _ShownAsBar(_Shown):
    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("Predicting", text="")

    def send(self, standing: Standing) -> None:
        self._bar.update(self._task, completed=standing.done, total=standing.total, text=standing.text())


class _ShownAsLines(_Shown):
    """A line at the start and the end, and every ten seconds between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def send(self, standing: Standing) -> None:
        if time.monotonic() >= self._next or standing.done == standing.total:
            self._next = time.monotonic() + _LINE_EVERY_S
            text = standing.text()
            self._console.print(
                f"{standing.done} of {standing.total} tasks{', ' if text else ''}{text}", soft_wrap=True
            )


@contextmanager
def _shown(console: Console) -> Iterator[_Shown]:
    if not console.is_terminal:
        yield _ShownAsLines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Bar(*columns, console=console, refresh_per_second=4) as bar:
        yield _ShownAsBar(bar)
