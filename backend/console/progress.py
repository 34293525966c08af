"""Show how a run goes on: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from backend.operations.projects.predict import Progress
from backend.operations.projects.progress import Standing, current_standing, look_if_idle
from worker.projects.open_project import OpenProject

_LOOK_EVERY_S = 1.0
_LINE_EVERY_S = 10.0


def follow(project: OpenProject, console: Console, before: Progress, total: int) -> Progress:
    """Show the progress since `before` until nothing is under way, and return how it ended.

    Ctrl-C ends the showing, not the work.
    """
    began = datetime.now(UTC)
    with _shown(console) as show:
        while True:
            if (progress := look_if_idle(project)) is not None:
                total = max(total, progress.under_way)
                show.send(current_standing(project, progress, began, before, total))
                if not progress.under_way:
                    return progress
            time.sleep(_LOOK_EVERY_S)


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
        if time.monotonic() >= self._next or standing.done + standing.cancelled == standing.total:
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
