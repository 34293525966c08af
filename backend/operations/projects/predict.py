"""Predict a whole project: which tasks lack masks, requests for them page by page, and what becomes of them."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from labeling.errors import LabelStudioError
from labeling.label_studio.messages import Task
from labeling.prompts.plan import plan_prompts
from labeling.store import SENT_STATUSES, Pace, ProjectRun, RunOptions, UnpredictedTask
from labeling.versions import weights_of
from worker.errors import NothingToDo, QueueUnreachable, WorkerError
from worker.projects.open_project import OpenProject
from worker.projects.requests import enqueue_requests
from worker.queue.queues import GPU, live_workers, queued_jobs, remove_predictions

_UNDER_WAY = ("requested", "ready")
_LEFT_ALONE = (*_UNDER_WAY, "failed")  # failed tasks are retried when somebody asks for it
_STORED_S = 3.0  # what answered an opened task is stored by Label Studio only then


@dataclass(frozen=True)
class Progress:
    """How far the project's predictions of the version of now are. `ready`: computed, not yet at Label Studio.

    `cancelled` ones were taken back: they are not under way, and not done.
    """

    requested: int
    ready: int
    failed: int
    cancelled: int = 0

    @property
    def under_way(self) -> int:
        """How many tasks are not done with."""
        return self.requested + self.ready


@dataclass(frozen=True)
class Outlook:
    """What a run has before it: `tasks` lack masks, `under_way` of them are queued; `ahead` jobs are of others."""

    tasks: int
    under_way: int
    ahead: int
    pace: Pace | None
    workers: int

    @property
    def seconds(self) -> float | None:
        """The estimate; None without a pace."""
        return None if self.pace is None else (self.tasks + self.ahead) * self.pace.seconds_per_task


def outlook(project: OpenProject, options: RunOptions, limit: int | None) -> Outlook:
    """Look at what there is to do, before anything is asked for. WorkerError if Redis does not answer."""
    version = project.version
    lacking = project.tasks_without_prediction(only_unlabeled=options.only_unlabeled)
    progress = look(project)
    lacking = max(lacking - len(project.store.progress.failed_tasks(project.project, version)), 0)
    if limit is not None:
        lacking = min(lacking, progress.under_way + limit)
    queued, workers = queued_jobs(project.connection, GPU), live_workers(project.connection, GPU)
    ahead = max(queued - progress.requested, 0)
    return Outlook(lacking, min(progress.under_way, lacking), ahead, known_pace(project), workers)


def known_pace(project: OpenProject) -> Pace | None:
    """The pace of this model on this project; if it never ran here, on any project."""
    weights = weights_of(project.version)
    return project.store.progress.pace(weights=weights, project=project.project) or project.store.progress.pace(
        weights=weights
    )


def request_missing(project: OpenProject, run: ProjectRun, *, probed: int = 0) -> Iterator[int]:
    """Record requests for the tasks that lack masks, and queue them; yields how many, page by page.

    Tasks that are under way, or failed, are left alone. It ends early when somebody cancels the run. With `probed`, the
    first so many tasks come alone: the caller can measure them before it takes the rest.
    """
    options, counted = run.options, run.requested
    pages = project.client.task_pages(
        project.number, lacking_version=project.version, only_unlabeled=options.only_unlabeled
    )
    for page in pages:
        tasks = _left_to_do(project, [Task.model_validate(task) for task in page.tasks])
        tasks = tasks if options.limit is None else tasks[: max(options.limit - counted, 0)]
        for some in filter(None, (tasks[:probed], tasks[probed:])):
            open_run = project.store.project_runs.find_open(project.project)
            if open_run is None or open_run.id != run.id:
                return
            rows = list(project.requests.request_all(some, run_id=run.id))
            enqueue_requests(project.connection, rows)
            project.store.project_runs.add_tasks(run.id, len(rows))
            counted += len(rows)
            yield len(rows)
        if options.limit is not None and counted >= options.limit:
            return
        probed = 0


def missing(project: OpenProject, options: RunOptions) -> int:
    """How many tasks lack masks in Label Studio although a run with these options is over.

    Those that failed, or are under way again, are not among them; of a limited run only what was sent is, because it
    left others out on purpose.
    """
    deadline = time.monotonic() + _STORED_S
    while (count := _count_missing(project, options)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return count


def look(project: OpenProject) -> Progress:
    """Where things stand."""
    counts = project.store.progress.version_counts(project.project).get(project.version, {})
    return Progress(*(counts.get(status, 0) for status in ("requested", "ready", "failed", "cancelled")))


def run_to_resume(project: OpenProject) -> ProjectRun:
    """The newest run, if it is open or was cancelled. WorkerError if there is none to go on with, or it is a
    promotion's, which ends it itself.
    """
    last = project.store.project_runs.find_last(project.project)
    if last is not None and last.outcome is None and _weights(last.model_version) != _weights(project.version):
        raise WorkerError(
            f"The open run is of {last.model_version}, and {project.version} is active. If that is being promoted, wait"
            f" for it; else begin anew: argenseg predict --project {project.number}"
        )
    if last is not None and last.outcome != "finished":
        return last
    what = "No run over it was begun yet" if last is None else "The last run over it has finished"
    raise NothingToDo(
        f"There is nothing to resume in project {project.number}. {what}: argenseg predict --project {project.number}"
    )


def cancel(project: OpenProject) -> int:
    """Take back what is not begun yet, and return how many tasks; what is begun is still computed and sent."""
    project.store.project_runs.end(project.project, "cancelled")
    cancelled = project.store.requests.cancel_all(project.project)
    with suppress(QueueUnreachable):  # a job that is left finds nothing to do
        remove_predictions(project.connection, cancelled)
    return len(cancelled)


def redraw(project: OpenProject) -> int:
    """Delete what we sent of the version of now, so that a run draws it anew; returns how many predictions.

    What was predicted stays in our store, for the corrections of it. LabelStudioError as Label Studio fails.
    """
    deleted = 0
    for page in project.client.task_pages(project.number, min_predictions=1):
        tasks = [int(task["id"]) for task in page.tasks]
        for task in tasks:
            for held in project.client.list_predictions(task):
                if held["model_version"] == project.version and _is_ours(project, task, held):
                    project.client.delete_prediction(int(held["id"]))
                    deleted += 1
        project.store.requests.retire(project.project, project.version, tasks)
    return deleted


def _is_ours(project: OpenProject, task: int, held: dict[str, Any]) -> bool:
    if project.store.predictions.find_sent(project.project, task, int(held["id"]), or_newest=False) is not None:
        return True
    regions = held["result"] or []
    first = str(regions[0].get("id")) if regions else ""
    return bool(first) and project.store.predictions.find_region(project.project, task, first) is not None


def failures(project: OpenProject) -> list[UnpredictedTask]:
    """Tasks without masks of the version of now because something went wrong."""
    return project.store.progress.failed_tasks(project.project, project.version)


def retry_failed(project: OpenProject) -> tuple[int, int]:
    """Request the failed tasks again, with their data of now; returns how many, and how many are gone for good."""
    found, gone = [], 0
    for failed in failures(project):
        try:
            found.append(Task.model_validate(project.client.get_task(failed.task_id)))
        except LabelStudioError as error:
            if error.status != 404:
                raise
            project.store.predictions.forget_failure(failed.prediction_id)
            gone += 1
    enqueue_requests(project.connection, project.requests.request_all(found))
    return len(found), gone


def reasons(failed: list[UnpredictedTask]) -> list[tuple[str, list[int]]]:
    """The failures by reason, the most frequent first, each with its tasks."""
    tasks: dict[str, list[int]] = {}
    for task in failed:
        tasks.setdefault(task.reason, []).append(task.task_id)
    return sorted(tasks.items(), key=lambda each: -len(each[1]))


def _weights(version: str) -> str:
    return weights_of(version)


def _count_missing(project: OpenProject, options: RunOptions) -> int:
    count = 0
    for page in project.client.task_pages(
        project.number, lacking_version=project.version, only_unlabeled=options.only_unlabeled
    ):
        tasks = [task for task in map(Task.model_validate, page.tasks) if not project.requests.leaves_out(task)]
        statuses = [status for _, status in _with_statuses(project, tasks) if status not in _LEFT_ALONE]
        count += len(statuses) if options.limit is None else sum(status in SENT_STATUSES for status in statuses)
    return count


def _left_to_do(project: OpenProject, tasks: list[Task]) -> list[Task]:
    """Those whose request was never made, was cancelled, or came to nothing in Label Studio."""
    return [task for task, status in _with_statuses(project, tasks) if status not in _LEFT_ALONE]


def _with_statuses(project: OpenProject, tasks: list[Task]) -> list[tuple[Task, str | None]]:
    """Each task with how far its prediction of now got; None: it was never requested."""
    known = project.store.progress.statuses(project.project, project.version, [task.id for task in tasks])
    digests = (plan_prompts(project.requests.config, task.data).digest() for task in tasks)
    return [(task, known.get((task.id, digest))) for task, digest in zip(tasks, digests, strict=True)]
