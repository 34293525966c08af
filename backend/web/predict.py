"""POST /predict: record what is asked for, then answer those who wait, as far as their time goes.

An empty list as a task's result tells Label Studio "nothing yet": it stores nothing and asks again next time. A
`{"result": []}` would be stored as a prediction, and the task would count as done.
"""

import logging
from typing import Any

from backend.web.double_opens import JUST_NOW_S, LIMIT_S, is_shown_without
from backend.web.page_answer import for_page
from backend.web.services import Services
from labeling.errors import LabelConfigError, StoreError
from labeling.label_studio.messages import PredictRequest
from labeling.logs import log_about
from labeling.store import PredictionRequest
from worker.errors import QueueUnreachable
from worker.projects.asked import record_asked
from worker.projects.requests import enqueue_requests
from worker.queue.metrics import END_TO_END, SENT
from worker.queue.queues import enqueue_prediction, wait_for_job

logger = logging.getLogger(__name__)

_ENQUEUE_S = 2.0

NOT_YET: list[Any] = []  # a task's result when it has none to show


def predict_tasks(services: Services, message: PredictRequest) -> list[Any]:
    """One result for each task, in their order: a prediction, or `[]`."""
    only_task = message.tasks[0].id if len(message.tasks) == 1 else None
    with log_about(project=message.project, task=only_task):
        return _predict_tasks(services, message)


def _predict_tasks(services: Services, message: PredictRequest) -> list[Any]:
    nothing = [NOT_YET for _ in message.tasks]
    try:
        asked = record_asked(services.settings, services.store, message)
    except (LabelConfigError, StoreError) as error:
        logger.warning("Project %d: nothing is predicted. %s", message.project, error)
        return nothing
    if asked.to_push:  # after the answer; the sweeper finds those that are not queued
        services.background.submit(enqueue_requests, services.connection, asked.to_push)
    return [_answer(services, message, row) for row in asked.awaited] or nothing


def _answer(services: Services, message: PredictRequest, row: PredictionRequest | None) -> Any:
    if row is None:
        return NOT_YET
    with log_about(project=row.project.project_id, task=row.task_id, prediction=row.id):
        return for_page(message, answer_now(services, row), row.model_version)


def answer_now(services: Services, row: PredictionRequest | None) -> Any:
    """The prediction of a task that somebody looks at, if it is ready within the budget; else it is pushed later.

    What the page itself asked for waits longer: its answer cannot be pushed. None is what could not be recorded.
    """
    if row is None:
        return NOT_YET
    if row.status == "failed":
        return _failed(row)
    if row.status == "requested":
        wait_for_mask(services, row)
    try:
        delivered = services.store.predictions.deliver_now(row.id)
    except StoreError as error:
        logger.warning("Task %d: %s", row.task_id, error)
        return NOT_YET
    if delivered is None:
        if (now := _look(services, row)) is not None and now.status == "failed":
            return _failed(now)
        logger.info("not ready in time; %s", "its answer is lost" if row.interactive else "it is pushed later")
        return NOT_YET
    sent, is_again = delivered.prediction, delivered.sent_s_ago is not None and delivered.sent_s_ago < JUST_NOW_S
    may_be_shown = is_again and not row.interactive
    if may_be_shown and services.background.call(LIMIT_S, is_shown_without, services.settings, sent):
        return NOT_YET
    if delivered.sent_s_ago is None:
        services.background.submit(_count, services, row)
    logger.info("answered with %d regions", len(sent.result or []))
    return {"result": sent.result, "score": sent.score, "model_version": sent.model_version}


def _failed(row: PredictionRequest) -> Any:
    """What a task gets whose request failed. To what was asked on the page the reason is added, for those who read the
    answer: Label Studio shows it nowhere, and never stores an answer to the page.
    """
    logger.warning("Task %d is not predicted: %s", row.task_id, row.error)
    if not row.interactive:
        return NOT_YET
    return {"result": [], "score": 0.0, "model_version": row.model_version, "error": row.error}


def _look(services: Services, row: PredictionRequest) -> PredictionRequest | None:
    try:
        return services.store.predictions.get(row.id)
    except StoreError as error:
        logger.warning("Task %d: %s", row.task_id, error)
        return None


def _count(services: Services, row: PredictionRequest) -> None:
    waited_s = services.store.requests.waited_s(row.id)
    services.counters.count(SENT, "answer")
    services.counters.observe(END_TO_END, "interactive" if row.interactive else "batch", waited_s)


def wait_for_mask(services: Services, row: PredictionRequest) -> None:
    """Put the request at the front of the queue and wait for it, as long as there is a place, and Redis answers."""
    job = services.background.call(_ENQUEUE_S, enqueue_prediction, services.connection, row.id, front=True)
    if job is None:
        return
    with services.waiting_room.place() as admitted:
        if not admitted:
            logger.info("All places to wait are taken; prediction %d is not waited for.", row.id)
            return
        try:
            settings = services.settings
            wait_for_job(job, settings.interactive_wait_s if row.interactive else settings.predict_wait_s)
        except QueueUnreachable as error:
            logger.warning("Prediction %d is not waited for any more: %s", row.id, error)
