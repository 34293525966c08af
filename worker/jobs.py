"""What the workers do with a row's id. Every job may run twice, or never: the row says what is left to do.

`predict` runs beside the model process, `publish` and `process_event` on any CPU.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from redis import Redis
from redis.exceptions import RedisError
from rq import Retry

from labeling.answers import build_answer, questions
from labeling.corrections import events
from labeling.errors import LabelingError, StoreError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.images import fetch_image
from labeling.predictions import Prediction
from labeling.prompts.label_config import parse_label_config
from labeling.settings import Settings
from labeling.store.records import WantedPrediction
from labeling.store.store import Store
from worker import publisher
from worker.errors import ModelCrashed, ModelStopped, ModelTimeout, QueueFull, SegmentationRefused
from worker.gpu_worker.model_process import SegmentedPrompt
from worker.queues import PREDICT, PROCESS_EVENT, PUBLISH_PREDICTION, connect, enqueue_publish
from worker.wishes import follow_event

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # for one prediction, also when its worker is killed
RETRY_INTERVALS_S = [5, 30]  # after an image server that did not answer


class Segmenter(Protocol):
    """What `predict` needs of a ModelProcess."""

    def segment(self, image: Path, prompts: Sequence[str], timeout_s: float) -> list[SegmentedPrompt]: ...


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


def predict(context: JobContext, segmenter: Segmenter, prediction_id: int) -> str | Retry:
    """Compute a wanted prediction and hand it on: to the request that waits for it, or to the publisher.

    What is wrong with the task itself is kept with the row, and the job is done. A crash of the model, or an image that
    could not be fetched just now, is tried again. Returns the row's new status, for the log.
    """
    store = context.store
    wanted = store.begin_prediction(prediction_id)
    if wanted is None:
        return "nothing to do"
    if wanted.interactive and wanted.delivery == "push":
        return _fail(store, wanted, "Nobody waits for this answer any more. Ask again.")
    if wanted.attempts > MAX_ATTEMPTS:
        return _fail(store, wanted, f"The worker failed {MAX_ATTEMPTS} times over this task; its log says why.")
    began = time.monotonic()
    try:
        prediction = _compute(context, segmenter, wanted)
    except ModelCrashed as error:
        return _try_again(store, wanted, error, [0])
    except ModelStopped as error:
        _fail(store, wanted, str(error))
        raise
    except StoreError:
        raise
    except LabelingError as error:
        if error.is_transient:
            return _try_again(store, wanted, error, RETRY_INTERVALS_S)
        return _fail(store, wanted, str(error))
    except (SegmentationRefused, ModelTimeout) as error:
        return _fail(store, wanted, str(error))
    delivery = store.finish_prediction(wanted.id, prediction)
    seconds = time.monotonic() - began
    logger.info("task %s: %d regions in %.2f s, %s", wanted.task_id, len(prediction.result), seconds, delivery)
    if delivery == "push":
        try:
            enqueue_publish(context.connection, wanted.id)
        except (QueueFull, RedisError) as error:
            logger.warning("task %s is published later: %s", wanted.task_id, error)
    return "ready"


def gpu_functions(context: JobContext, segmenter: Segmenter) -> dict[str, Callable[..., Any]]:
    """What a GPU worker runs, by the name in a job."""
    return {PREDICT: partial(predict, context, segmenter)}


def publish_functions(context: JobContext) -> dict[str, Callable[..., Any]]:
    """What a publisher runs, by the name in a job."""
    return {PUBLISH_PREDICTION: partial(publish, context), PROCESS_EVENT: partial(process_event, context)}


def publish(context: JobContext, prediction_id: int) -> str | Retry:
    """Send a ready prediction to Label Studio."""
    return publisher.publish(context.store, context.client, prediction_id)


def process_event(context: JobContext, event_id: int) -> int:
    """Do what follows from a stored webhook event, and return how many corrections it held.

    An event that nothing can be made of is kept with its error: it must not come back forever.
    """
    try:
        follow_event(context.settings, context.store, context.connection, event_id)
        return int(events.process_event(context.store, event_id))
    except LabelingError:
        raise
    except Exception as error:
        logger.exception("event %s could not be processed", event_id)
        context.store.mark_event_processed(event_id, error=f"{type(error).__name__}: {error}")
        return 0


def _compute(context: JobContext, segmenter: Segmenter, wanted: WantedPrediction) -> Prediction:
    """All prompts of the task in one model call."""
    settings = context.settings
    config = parse_label_config(wanted.project.label_config)
    reference = wanted.task_data.get(config.image_key)
    if not isinstance(reference, str) or not reference:
        raise LabelingError(f"The task has no image: its data has no text under {config.image_key!r}.")
    asked = questions(wanted.plan)
    image = fetch_image(reference, context.client, settings, task_id=wanted.task_id)
    answers = segmenter.segment(image, asked, settings.segment_timeout_s)
    by_question = dict(zip(asked, answers, strict=True))
    return build_answer(wanted.plan, config, by_question, wanted.model_version)


def _try_again(store: Store, wanted: WantedPrediction, error: Exception, intervals_s: list[int]) -> str | Retry:
    if wanted.attempts >= MAX_ATTEMPTS:
        return _fail(store, wanted, str(error))
    logger.warning("task %s is tried again: %s", wanted.task_id, error)
    return Retry(max=MAX_ATTEMPTS, interval=intervals_s, enqueue_at_front=True)


def _fail(store: Store, wanted: WantedPrediction, reason: str) -> str:
    store.fail_prediction(wanted.id, reason)
    logger.warning("task %s failed: %s", wanted.task_id, reason)
    return "failed"
