"""From tasks to wanted predictions: each one a row in the store first, and a job in its queue then."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pydantic import ValidationError
from redis import Redis, RedisError

from labeling.corrections.blind_slice import is_blind
from labeling.errors import LabelConfigError
from labeling.label_studio.messages import ProjectUpdated, Task, TasksCreated
from labeling.prompts.interaction import Interaction
from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.settings import Settings
from labeling.store.records import Delivery, Project, TaskWish, WantedPrediction
from labeling.store.store import Store
from labeling.versions import model_version
from worker.errors import WorkerError
from worker.queue.queues import enqueue_prediction, enqueue_publish

logger = logging.getLogger(__name__)

_TASKS_AT_A_TIME = 200  # in one transaction: a webhook waits half a second for its turn to write


def live_model(settings: Settings, store: Store, project: Project | None) -> str:
    """The model that serves a project now: a promoted version's folder, else that of the settings."""
    version = store.live_model(project)
    return settings.model if version is None else version.folder


def model_of_version(settings: Settings, store: Store, version: str, config: LabelConfig) -> str | None:
    """The model that makes a version under a label config; None where its weights are gone or its prompts changed."""
    known = store.find_model(version.rpartition(" · ")[0])
    model = settings.model if known is None else known.folder
    return model if model_version(model, config) == version else None


class Wishes:
    """Wishes for the tasks of one project, under its label config and model version of now.

    The model is the project's live one, or `model` (a folder), as before that one goes live. `as_pinned`: that of the
    version which the project is pinned to, if there still is one: annotators see no other.
    `shown_version`: what Label Studio tells of that, if it does.

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
        self.project: Project = store.upsert_project(settings.installation_url, project_id, label_config, shown_version)
        self._erased = store.erased(self.project).tasks
        if as_pinned and model is None and self.project.shown_version:
            model = model_of_version(settings, store, self.project.shown_version, self.config)
        self.model_version = model_version(model or live_model(settings, store, self.project), self.config)

    def want(self, task: Task, *, delivery: Delivery, asked: Interaction | None = None) -> WantedPrediction:
        """Record the wish for one task, or for what an annotator typed, boxed or pointed at on its page.

        A task that can never be predicted is recorded as failed, with the reason. StoreError if the store fails.
        """
        plan = plan_prompts(self.config, task.data, asked)
        interactive = asked is not None
        wish = self._store.want_prediction(
            self.project,
            task.id,
            task.data,
            plan,
            self.model_version,
            delivery=delivery,
            interactive=interactive,
            image_key=self.config.image_key,
        )
        return self._failed_if_impossible(wish)

    def want_all(self, tasks: Sequence[Task], *, run_id: int | None = None) -> Iterator[WantedPrediction]:
        """Record and yield the wishes for many tasks, to be pushed, some at a time; none for blind and erased ones.

        `run_id`: the run over the project that counts them.
        """
        tasks = [task for task in tasks if not self.leaves_out(task)]
        for start in range(0, len(tasks), _TASKS_AT_A_TIME):
            some = tasks[start : start + _TASKS_AT_A_TIME]
            wishes = [TaskWish(task.id, task.data, plan_prompts(self.config, task.data)) for task in some]
            for wish in self._store.want_predictions(
                self.project,
                wishes,
                self.model_version,
                delivery="push",
                image_key=self.config.image_key,
                run_id=run_id,
            ):
                yield self._failed_if_impossible(wish)

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

    def _failed_if_impossible(self, wish: WantedPrediction) -> WantedPrediction:
        reason = self._why_impossible(wish)
        if reason is None:
            return wish
        self._store.fail_prediction(wish.id, reason)
        return replace(wish, status="failed", error=reason)

    def _why_impossible(self, wish: WantedPrediction) -> str | None:
        key = self.config.image_key
        image = wish.task_data.get(key)
        if not isinstance(image, str) or not image.strip():
            return f'The task has no image: its data has no text under "{key}", which <Image value="${key}"/> names.'
        if wish.plan.items:
            return None
        return (
            "There is nothing to ask: no label of the project has a prompt or a name, or the label of this box or "
            "point is in no tag that masks are drawn into."
        )


def enqueue_wishes(connection: "Redis", wishes: Iterable[WantedPrediction]) -> int:
    """Queue the jobs of wishes that nobody waits for, and return how many. The sweeper finds those left out."""
    queued = 0
    try:
        for wish in wishes:
            if wish.status == "wanted":
                enqueue_prediction(connection, wish.id)
            elif wish.status == "ready":  # it was computed before, and Label Studio does not have it
                enqueue_publish(connection, wish.id)
            else:
                continue
            queued += 1
    except (RedisError, WorkerError) as error:
        logger.warning("%d jobs were queued, then: %s. The others are queued later.", queued, error)
    return queued


def follow_event(settings: Settings, store: Store, connection: "Redis", event_id: int) -> int:
    """Do what a stored webhook event asks for besides corrections, and return how many tasks were wanted.

    TASKS_CREATED: predict the new tasks before anyone opens them. PROJECT_UPDATED: remember the label config.
    START_TRAINING: want a fine-tune run. Doing it again changes nothing. Never raises for the event's
    content; StoreError if the store fails.
    """
    event = store.get_event(event_id)
    try:
        if event.action == "TASKS_CREATED":
            return _want_new_tasks(settings, store, connection, TasksCreated.model_validate(event.payload))
        if event.action in ("PROJECT_UPDATED", "START_TRAINING"):
            named = ProjectUpdated.model_validate(event.payload).project
            project = store.upsert_project(settings.installation_url, named.id, named.label_config, named.model_version)
            if event.action == "START_TRAINING":
                corrections = store.count_corrections(project)
                store.want_finetune(f"finetune-event-{event_id}", project, corrections=corrections)
    except ValidationError as error:
        logger.warning("Event %d is no %s: %d of its fields do not fit.", event_id, event.action, error.error_count())
    except LabelConfigError as error:
        logger.warning("Event %d: the new tasks are not predicted. %s", event_id, error)
    return 0


def _want_new_tasks(settings: Settings, store: Store, connection: "Redis", event: TasksCreated) -> int:
    """Of the version that annotators see and, while a run over the project is open, of the run's too: it may be pinned
    when the run ends.
    """
    project = event.project
    wishes = Wishes(
        settings, store, project.id, project.label_config, as_pinned=True, shown_version=project.model_version
    )
    rows = list(wishes.want_all(event.tasks))
    enqueue_wishes(connection, rows)
    run = store.find_open_run(wishes.project)
    if run is not None and run.model_version != wishes.model_version:
        model = model_of_version(settings, store, run.model_version, wishes.config)
        if model is not None:
            of_run = Wishes(settings, store, project.id, project.label_config, model)
            enqueue_wishes(connection, of_run.want_all(event.tasks))
    return len(rows)
