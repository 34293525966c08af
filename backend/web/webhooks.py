"""Label Studio's webhooks: stored before they are answered, because Label Studio never sends one twice.

Label Studio waits 1 s, inside the annotator's Submit. What follows from an event is a worker's job; if that job cannot
be queued, the sweeper finds the event.
"""

import logging
import uuid
from typing import Any

from flask import Blueprint, Response, jsonify
from werkzeug.exceptions import BadRequest, ServiceUnavailable

from backend.web.messages import read_json
from backend.web.services import Services
from labeling.label_studio.messages import named_ids
from labeling.logs import log_about
from worker.events.spool import spool_folder, write_event
from worker.queue.queues import enqueue_event

logger = logging.getLogger(__name__)

_STORE_S = 0.6  # of the second: longer than the store waits for another writer, and time is left for the spool folder


def make_blueprint(services: Services) -> Blueprint:
    """The route /webhook."""
    webhooks = Blueprint("webhooks", __name__)

    @webhooks.post("/webhook")
    def webhook() -> tuple[Response, int]:
        payload = read_json()
        action = payload.get("action")
        if not isinstance(action, str) or not action:
            raise BadRequest('The body must name what happened under "action".')
        with log_about(**named_ids(payload)):
            take_event(services, action, payload)
        return jsonify(status="ok"), 201

    return webhooks


def take_event(services: Services, action: str, payload: dict[str, Any]) -> None:
    """Keep the event; then, without waiting, queue what follows from it."""
    event_id = keep_event(services, action, payload)
    if event_id is not None:
        services.background.submit(enqueue_event, services.connection, event_id)


def keep_event(services: Services, action: str, payload: dict[str, Any]) -> int | None:
    """Commit the event and return its id; None if the store is busy, down or silent: it waits in the spool folder.

    A store that takes it too late gets it twice, under the same key: it keeps it once.
    """
    url, key = services.settings.installation_url, uuid.uuid4().hex
    event_id = services.background.call(
        _STORE_S, services.store.events.record, action, payload, label_studio_url=url, idempotency_key=key
    )
    if event_id is not None:
        logger.info("%s is kept as event %d", action, event_id)
        return event_id
    logger.warning("The event %s goes to the spool folder: the store did not take it.", action)
    try:
        write_event(spool_folder(services.settings), action, payload, url, idempotency_key=key)
    except OSError as error:
        logger.error("The event %s is LOST: neither the store nor the spool folder took it: %s", action, error)
        raise ServiceUnavailable("The event could not be stored. Is the disk full?") from None
    return None
