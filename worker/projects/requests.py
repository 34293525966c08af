"""From tasks to requested predictions: each one a row in the store first, and a job in its queue then."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from labeling.corrections.blind_slice import is_blind
from labeling.label_studio.messages import Task
from labeling.label_studio.references import why_unusable
from labeling.prompts.interaction import Interaction
from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.prompts.task_values import task_text
from labeling.settings import Settings
from labeling.store import Delivery, PredictionRequest, Project, Store, TaskRequest
from labeling.versions import model_version
from worker.errors import QueueFull, WorkerError
from worker.projects.active_model import active_model, model_of_version
from worker.queue.connection import Connection
from worker.queue.queues import GPU, PREDICT, PUBLISH, PUBLISH_PREDICTION, enqueue_rows

logger = logging.getLogger(__name__)

_TASKS_AT_A_TIME = 200  # in one transaction: a webhook waits half a second for its turn to write


class ProjectRequests:
    """Requests for the tasks of one project, under its label config and model version of now.

    The model is the project's active one, or `model` (a folder), as before that one becomes active. `as_pinned`: that
    of the version which the project is pinned to, if there still is one: annotators see no other.
    `shown_version`: what Label Studio reports of that, if it does.

    Raises LabelConfigError, with advice, where the label config cannot be used; StoreError where the store fails.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        project_id: int,
        label_config: str,
        model: str | None = None,
        *,
        as_pinned: bool = False,
        shown_version: str | None = None,
    ) -> None:
        self.config: LabelConfig = parse_label_config(label_config)
        self._store = store
        self.blind_share = settings.blind_share
        self.project: Project = store.projects.upsert(
            settings.installation_url, project_id, label_config, shown_version
        )
        self._erased = store.erasure.erased(self.project).tasks
        if as_pinned and model is None and self.project.shown_version:
            model = model_of_version(settings, store, self.project.shown_version, self.config)
        self.model_version = model_version(model or active_model(settings, store, self.project), self.config)

    def request(self, task: Task, *, delivery: Delivery, asked: Interaction | None = None) -> PredictionRequest:
        """Record the request for one task, or for what an annotator typed, boxed or pointed at on its page.

        A task that can never be predicted is recorded as failed, with the reason. StoreError if the store fails.
        """
        plan = plan_prompts(self.config, task.data, asked)
        interactive = asked is not None
        row = self._store.requests.add(
            self.project,
            task.id,
            task.data,
            plan,
            self.model_version,
            delivery=delivery,
            interactive=interactive,
            image_key=self.config.image_key,
        )
        return self._failed_if_impossible(row)

    def request_all(self, tasks: Sequence[Task], *, run_id: int | None = None) -> Iterator[PredictionRequest]:
        """Record and yield the requests for many tasks, to be pushed, some at a time; none for blind and erased ones.

        `run_id`: the run over the project that counts them.
        """
        tasks = [task for task in tasks if not self.leaves_out(task)]
        for start in range(0, len(tasks), _TASKS_AT_A_TIME):
            some = tasks[start : start + _TASKS_AT_A_TIME]
            requests = [TaskRequest(task.id, task.data, plan_prompts(self.config, task.data)) for task in some]
            for row in self._store.requests.add_all(
                self.project,
                requests,
                self.model_version,
                delivery="push",
                image_key=self.config.image_key,
                run_id=run_id,
            ):
                yield self._failed_if_impossible(row)

    def is_blind(self, task: Task) -> bool:
        """Whether the task is of the share that gets no prediction (BLIND_SHARE), only what its annotator asks for."""
        return is_blind(self.project.project_id, task.id, self.blind_share)

    def is_erased(self, task: Task) -> bool:
        """Whether everything about the task was deleted on request: nothing of it may be recorded again."""
        return task.id in self._erased

    def leaves_out(self, task: Task) -> bool:
        """Whether the task is blind or erased: nobody predicts it unasked."""
        return self.is_blind(task) or self.is_erased(task)

    @property
    def leaves_some_out(self) -> bool:
        """Whether there may be such tasks at all."""
        return self.blind_share > 0 or bool(self._erased)

    def _failed_if_impossible(self, row: PredictionRequest) -> PredictionRequest:
        reason = self._why_impossible(row)
        if reason is None:
            return row
        self._store.predictions.fail(row.id, reason)
        return replace(row, status="failed", error=reason)

    def _why_impossible(self, row: PredictionRequest) -> str | None:
        key = self.config.image_key
        image = task_text(row.task_data, key)
        if image is None:
            value = key if "$" in key else f"${key}"
            return f'The task has no image: its data has no text under "{key}", which <Image value="{value}"/> names.'
        if (reason := why_unusable(image)) is not None:
            return reason
        if row.plan.items:
            return None
        return (
            "There is nothing to ask: no label of the project has a prompt or a name, or the label of this box or "
            "point is in no tag that masks are drawn into."
        )


def enqueue_requests(connection: "Connection", requested: Iterable[PredictionRequest]) -> int:
    """Queue the jobs of requests that nobody waits for, and return how many. The sweeper finds those left out."""
    queued, asked = 0, iter(requested)
    try:
        while some := list(islice(asked, _TASKS_AT_A_TIME)):
            computed = [row.id for row in some if row.status == "ready"]  # before, and Label Studio does not have it
            for queue, function, rows in (
                (GPU, PREDICT, [row.id for row in some if row.status == "requested"]),
                (PUBLISH, PUBLISH_PREDICTION, computed),
            ):
                put = enqueue_rows(connection, queue, function, rows)
                queued += put
                if put < len(rows):
                    raise QueueFull(f"The queue {queue!r} is full.")
    except QueueFull as error:  # of a large project, page after page
        logger.info("%d jobs were queued, then: %s The others are queued later.", queued, error)
    except WorkerError as error:
        logger.warning("%d jobs were queued, then: %s The others are queued later.", queued, error)
    return queued
