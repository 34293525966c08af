"""What a publisher runs with a row's id. Every job may run twice, or never: the row says what is left to do.

Predictions are computed in `worker.gpu_worker`.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from labeling.errors import StoreError
from labeling.logs import log_about
from worker.context import JobContext
from worker.events.process import process_event
from worker.publishing import publisher
from worker.queue.metrics import END_TO_END, FAILURES, PUBLISH, SENT
from worker.queue.queues import PROCESS_EVENT, PUBLISH_PREDICTION
from worker.queue.retries import RetryLater
from worker.queue.sending import only_sender


def publish_functions(context: JobContext) -> dict[str, Callable[..., Any]]:
    """The functions of the queue `publish`, by the name in a job."""
    return {PUBLISH_PREDICTION: partial(publish, context), PROCESS_EVENT: partial(process_event, context)}


def publish(context: JobContext, prediction_id: int) -> str | RetryLater:
    """Send a ready prediction to Label Studio; "ready" if another publisher does so now: the sweeper looks again."""
    with only_sender(context.connection, prediction_id) as is_only:
        if not is_only:
            return "ready"
        found = context.store.predictions.get(prediction_id)
        began = time.monotonic()
        with log_about(project=found.project.project_id, task=found.task_id, prediction=prediction_id):
            outcome = publisher.publish(context.store, context.client, prediction_id)
        if found.status == "ready":  # else an earlier job did it
            with suppress(StoreError):  # counting is no reason to fail
                _count(context, prediction_id, outcome, time.monotonic() - began)
        return outcome


def _count(context: JobContext, prediction_id: int, outcome: str | RetryLater, seconds: float) -> None:
    metrics = context.metrics
    if isinstance(outcome, RetryLater):
        metrics.observe(PUBLISH, "postponed", seconds)
    elif outcome == "failed":
        metrics.observe(PUBLISH, "failed", seconds)
        metrics.count(FAILURES, "label_studio")
    elif outcome == "published":
        metrics.observe(PUBLISH, "published", seconds)
        metrics.count(SENT, "push")
        metrics.observe(END_TO_END, "batch", context.store.requests.waited_s(prediction_id))
