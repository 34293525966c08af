"""The open tasks of a project, which somebody may still be given to annotate: which masks they hold, and new ones."""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from labeling.errors import LabelingError
from labeling.label_studio.messages import Task
from labeling.store import Project, ProjectRun, RunOptions, RunOutcome, Store
from worker.projects.open_project import OpenProject
from worker.projects.requests import enqueue_requests

logger = logging.getLogger(__name__)

TICK_S = 2.0
_UNDER_WAY = ("requested", "ready")
_TASKS_AT_A_TIME = 500  # in one query: databases limit the parameters


def open_tasks(project: OpenProject, *, lacking: str, holding: str | None = None) -> Iterator[list[Task]]:
    """Pages of the open tasks that hold no prediction of the version `lacking`; blind and erased ones are left out.

    `holding`: only those that hold a prediction of this version, "" for any.
    """
    pages = project.client.task_pages(
        project.number,
        lacking_version=lacking,
        holding_version=holding or None,
        min_predictions=1 if holding == "" else 0,
        only_open=True,
    )
    for page in pages:
        tasks = {task.id: task for task in map(Task.model_validate, page.tasks)}  # one that holds two may come twice
        yield [task for task in tasks.values() if not project.requests.leaves_out(task)]


@contextmanager
def predicted(store: Store, project: OpenProject, on_tick: Callable[[], None], patience_s: float) -> Iterator[None]:
    """The open tasks have masks of the project's version, or failed, or nothing moved for so long; until this is left,
    those that come meanwhile get them too.

    `on_tick` is called while it waits. An error ends it, here and in the block: what is not computed is taken back.
    """
    run = store.project_runs.begin(project.project, project.version, RunOptions(only_unlabeled=True))
    requested: list[int] = []
    try:
        waiting = _request(project, run, requested, on_tick)
        if waiting:
            logger.info("Project %d: %d open tasks get masks of %s", project.number, len(waiting), project.version)
        if left := wait(project, waiting, on_tick, patience_s):
            logger.warning("%d open tasks wait for their masks of %s: no worker gets on.", len(left), project.version)
        yield
    except BaseException:
        try:
            _end(store, project.project, run, "cancelled")
            store.requests.cancel(requested)
        except LabelingError as error:
            logger.warning("Project %d goes on getting masks of %s: %s", project.number, project.version, error)
        raise
    _end(store, project.project, run, "finished")


def wait(
    project: OpenProject, task_ids: Collection[int], on_tick: Callable[[], None], patience_s: float
) -> Collection[int]:
    """Wait until none of these tasks is under way, or nothing moves for so long; returns those that are still.

    Tasks that come meanwhile are not waited for, else a steady feed of them would hold this up for ever.
    """
    since = time.monotonic()
    while task_ids and time.monotonic() - since < patience_s:
        on_tick()
        time.sleep(TICK_S)
        left = under_way(project, task_ids)
        if len(left) < len(task_ids):
            since = time.monotonic()
        task_ids = left
    return task_ids


def under_way(project: OpenProject, task_ids: Collection[int]) -> set[int]:
    """Those of the tasks whose prediction of the project's version is queued, computed, or sent just now."""
    ids, found = sorted(task_ids), set[int]()
    for start in range(0, len(ids), _TASKS_AT_A_TIME):
        some = ids[start : start + _TASKS_AT_A_TIME]
        known = project.store.progress.statuses(project.project, project.version, some)
        found |= {task for (task, _), status in known.items() if status in _UNDER_WAY}
    return found


def _request(project: OpenProject, run: ProjectRun, requested: list[int], on_tick: Callable[[], None]) -> set[int]:
    """Request what open tasks lack, also what failed before, and add the requests' ids; returns the tasks under way."""
    waiting = set[int]()
    for tasks in open_tasks(project, lacking=project.version):
        if not _is_open(project.store, project.project, run):  # argenseg predict --cancel
            break
        asked = under_way(project, [task.id for task in tasks])
        rows = list(project.requests.request_all([task for task in tasks if task.id not in asked], run_id=run.id))
        requested += [row.id for row in rows]
        enqueue_requests(project.connection, rows)
        project.store.project_runs.add_tasks(run.id, len(rows))
        waiting |= asked | {row.task_id for row in rows if row.status in _UNDER_WAY}
        on_tick()
    return waiting


def _is_open(store: Store, project: Project, run: ProjectRun) -> bool:
    found = store.project_runs.find_open(project)
    return found is not None and found.id == run.id


def _end(store: Store, project: Project, run: ProjectRun, outcome: RunOutcome) -> None:
    """Close our run, not one that somebody began in its place."""
    if _is_open(store, project, run):
        store.project_runs.end(project, outcome)
