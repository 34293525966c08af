"""What the workers do with a row's id. Every job may run twice, or never: the row says what is left to do.

`publish` and `process_event` are here, for any CPU; predictions are computed in `worker.gpu_worker`.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis import Redis
from rq import Retry

from labeling.corrections import events
from labeling.errors import LabelingError
from labeling.label_studio.client import LabelStudioClient
from labeling.settings import Settings
from labeling.store import PredictionRequest, Store
from worker.publishing import publisher
from worker.publishing.sending import only_sender
from worker.queue.queues import PROCESS_EVENT, PUBLISH_PREDICTION, connect
from worker.wishes import follow_event

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobContext:
    """What a worker process hands to its jobs, made once in its main."""

    settings: Settings
    store: Store
    client: LabelStudioClient | None
    connection: "Redis"

    @classmethod
    @contextmanager
    def open(cls, settings: Settings) -> Iterator["JobContext"]:
        """The context of a worker process. StoreError if the store cannot be used."""
        with Store.open(settings.database_url, settings.blob_url) as store:
            yield cls(settings, store, LabelStudioClient.from_settings(settings), connect(settings, retries=20))

    def model_of(self, wanted: PredictionRequest) -> str:
        """The model (a folder, hub id, or "starter") that the wish is to be computed with.

        That of a deleted version cannot be loaded, but no other one may answer under its name.
        """
        version = self.store.models.find(wanted.model_version.rpartition(" · ")[0], with_deleted=True)
        return self.settings.model if version is None else version.folder


def publish_functions(context: JobContext) -> dict[str, Callable[..., Any]]:
    """What a publisher runs, by the name in a job."""
    return {PUBLISH_PREDICTION: partial(publish, context), PROCESS_EVENT: partial(process_event, context)}


def publish(context: JobContext, prediction_id: int) -> str | Retry:
    """Send a ready prediction to Label Studio; "ready" if another publisher does so now: the sweeper looks again."""
    with only_sender(context.connection, prediction_id) as is_only:
        if not is_only:
            return "ready"
        return publisher.publish(context.store, context.client, prediction_id)


def take_event(context: JobContext, payload: dict[str, Any], label_studio_url: str) -> None:
    """Store an event that no webhook brought, and process it as if one had."""
    process_event(context, context.store.events.record(payload["action"], payload, label_studio_url=label_studio_url))


def process_event(context: JobContext, event_id: int) -> int:
    """Do what follows from a stored webhook event, and return how many corrections it held.

    An event that nothing can be made of is kept with its error: it must not come back forever.
    """
    try:
        follow_event(context.settings, context.store, context.connection, event_id)
        return int(events.process_event(context.store, event_id))
    except Exception as error:
        if isinstance(error, LabelingError) and error.is_transient:
            raise
        logger.exception("event %s could not be processed", event_id)
        context.store.events.mark_processed(event_id, error=f"{type(error).__name__}: {error}")
        return 0
