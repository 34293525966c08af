"""The one door of every event: by its action, the functions of those whom it concerns; then, corrections."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from labeling.corrections.events import record_corrections
from labeling.errors import LabelConfigError, LabelingError
from labeling.label_studio.messages import named_ids
from labeling.logs import log_about
from labeling.store import EventRecord
from worker.context import JobContext
from worker.events.new_tasks import request_new_tasks
from worker.finetune.start_training import request_training
from worker.projects.updates import remember_project
from worker.queue.metrics import CORRECTIONS, EVENTS

logger = logging.getLogger(__name__)

_MOST_ATTEMPTS = 3  # an event that is begun and never ends has ended its process, as one that takes all memory does

FOLLOWERS: Mapping[str, Callable[[JobContext, EventRecord], object]] = {
    "TASKS_CREATED": request_new_tasks,
    "PROJECT_UPDATED": remember_project,
    "START_TRAINING": request_training,
}
"""What an event's action asks for, besides corrections. Doing it again changes nothing."""


def process_event(context: JobContext, event_id: int) -> int:
    """Do what follows from a stored event, and return how many corrections it held.

    An event that nothing can be made of, or that ended its process three times, is kept with its error: it must not
    come back forever. An error is raised only where trying later may help: the event stays unprocessed.
    """
    with log_about(event=event_id):
        return _process(context, event_id)


def _process(context: JobContext, event_id: int) -> int:
    attempts = context.store.events.begin(event_id)
    if attempts == 0:
        return 0
    if attempts > _MOST_ATTEMPTS:
        reason = f"It was begun {_MOST_ATTEMPTS} times and never ended: it may be too large for this machine."
        logger.error("event %s is set aside: %s", event_id, reason)
        context.store.events.mark_processed(event_id, error=reason)
        context.metrics.count(EVENTS, "failed")
        return 0
    try:
        event = context.store.events.get(event_id)
        with log_about(**named_ids(event.payload)):
            _follow(context, event)
            recorded = record_corrections(context.store, event_id)
            logger.info("%s: %d corrections", event.action, recorded.total())
    except Exception as error:
        if isinstance(error, LabelingError) and error.is_transient:
            context.store.events.postpone(event_id)
            raise
        logger.exception("event %s could not be processed", event_id)
        context.store.events.mark_processed(event_id, error=f"{type(error).__name__}: {error}")
        context.metrics.count(EVENTS, "failed")
        return 0
    context.metrics.count(EVENTS, "processed")
    for kind, count in recorded.items():
        context.metrics.count(CORRECTIONS, kind, count)
    return recorded.total()


def process_missed_event(context: JobContext, payload: dict[str, Any], label_studio_url: str) -> None:
    """Store an event that no webhook brought, and process it as if one had."""
    process_event(context, context.store.events.record(payload["action"], payload, label_studio_url=label_studio_url))


def _follow(context: JobContext, event: EventRecord) -> None:
    follow = FOLLOWERS.get(event.action)
    if follow is None:
        return
    try:
        follow(context, event)
    except ValidationError as error:
        logger.warning("Event %d is no %s: %d of its fields do not fit.", event.id, event.action, error.error_count())
    except LabelConfigError as error:
        logger.warning("Event %d: its tasks are not predicted. %s", event.id, error)
