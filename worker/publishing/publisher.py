"""Sends finished predictions to Label Studio, each once, and again later when Label Studio does not answer."""

import logging

from labeling.credentials import hide_passwords
from labeling.errors import LabelingError, LabelStudioError
from labeling.label_studio.client import LabelStudioClient
from labeling.predictions import Prediction, validate_prediction
from labeling.prompts.label_config import parse_label_config
from labeling.store import PredictionRequest, Store
from worker.publishing import earlier_predictions
from worker.queue.retries import RetryLater

logger = logging.getLogger(__name__)

RETRY_INTERVALS_S = (2, 5, 15, 30, *(60,) * 60)
_ADVICE = {
    413: "It is larger than what is between us and Label Studio lets through: raise the proxy's body limit"
    " (client_max_body_size), or use polygons.",
    422: "Its regions are not what this Label Studio takes: look at the label config, or use another kind of region.",
}
_LATER = frozenset({429, 503})  # too much at once, or not yet after a start: it is not about what was sent
_OVERTAKEN_S = 3600.0


def publish(store: Store, client: LabelStudioClient | None, prediction_id: int) -> str | RetryLater:
    """Send a ready prediction, unless Label Studio already holds one of the task and version. Returns its new status.

    The question comes first because the job may have died after an earlier POST. What we sent of the task as it was
    before its prompt or image was changed is replaced; while somebody annotates it, what is ready is postponed. An
    outage (LabelStudioError.is_refusal) is waited for, also where it looks like a refusal while Label Studio's API does
    not take our token; after the last retry the sweeper begins again. But what alone fails for an hour, while others
    get through, is given up. Without a client nothing is sent.
    """
    ready = store.predictions.get(prediction_id)
    if ready.status != "ready" or client is None:
        return ready.status
    if ready.interactive:  # alone it would stand for the task's whole prediction of this version
        return _fail(store, ready, "The answer came after the page stopped waiting. Ask again.")
    prediction = Prediction(ready.result or [], ready.score, ready.model_version)
    has_answered = False
    try:
        validate_prediction(prediction, parse_label_config(ready.project.label_config))
        if client.url != ready.project.label_studio_url:
            whose = f"It belongs to {ready.project.label_studio_url}, not to {client.url}."
            return _fail(store, ready, hide_passwords(whose))
        listed = [p for p in client.list_predictions(ready.task_id) if p["model_version"] == ready.model_version]
        has_answered = True
        held = earlier_predictions.look(store, client, ready, listed)
        if held.must_stay:
            store.predictions.postpone_for_draft(
                ready.id, "The masks from before a change stay: it changed again, or is being annotated."
            )
            logger.info("task %s: a prediction is postponed, the masks from before a change stay", ready.task_id)
            return "postponed_for_draft"
        if held.number is None and (now := store.predictions.get(prediction_id).status) != "ready":
            return now  # somebody opened the task meanwhile, and was answered with it
        sent = client.create_prediction(ready.task_id, prediction) if held.number is None else held.number
        earlier_predictions.remove(store, client, ready, held.outdated)
    except LabelStudioError as error:
        fault = client.fault() if error.is_refusal else error
        if fault is None:
            return _fail(store, ready, f"{error} {_ADVICE.get(error.status or 0, '')}".rstrip())
        is_its_own = has_answered and error.is_transient and error.status not in _LATER
        if is_its_own and store.progress.is_overtaken(ready.id, _OVERTAKEN_S):
            return _fail(store, ready, f"{error} Others of the project were taken meanwhile, so it was given up.")
        store.requests.note_delay(ready.id, fault.reason)
        is_news = ready.error != fault.reason  # a long outage of many tasks must not fill the log
        level = logging.WARNING if is_news else logging.DEBUG
        logger.log(level, "task %s is not published yet: %s", ready.task_id, fault)
        return RetryLater(RETRY_INTERVALS_S)
    except LabelingError as error:
        return _fail(store, ready, str(error))
    store.predictions.mark_published(ready.id, sent)
    logger.info("task %s: published as prediction %s", ready.task_id, sent)
    return "published"


def _fail(store: Store, ready: PredictionRequest, reason: str) -> str:
    store.predictions.fail(ready.id, reason)
    logger.warning("task %s is not published: %s", ready.task_id, reason)
    return "failed"
