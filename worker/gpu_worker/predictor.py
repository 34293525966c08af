"""From rows that are requested to stored predictions: begin, fetch the images, ask the model, store, hand on.

Images are fetched a few at a time, in threads, while the model works on those that are there. A row that somebody waits
for is urgent: as soon as its image is here it goes first, and alone; until then others' work goes on.
"""

import contextvars
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from argenseg_model.errors import ARGenSegError
from argenseg_model.images import image_size
from labeling.answers import build_answer, finds_more, image_window, questions, second_window
from labeling.errors import DoubtfulImageError, ImageOutage, LabelingError, StoreError, UnknownHostError
from labeling.label_studio.images import fetch_image
from labeling.logs import log_about
from labeling.prompts.focus import Window
from labeling.prompts.known import known_names, why_nothing_was_found
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.task_values import task_text
from labeling.store import PredictionRequest
from worker.context import JobContext
from worker.errors import ModelCrashed, ModelLoadError, ModelOutOfMemory, QueueFull, QueueUnreachable, WorkerError
from worker.gpu_worker.batches import BatchedModel, CostedQuestion, Outcome
from worker.gpu_worker.model_child import Question
from worker.gpu_worker.model_process import SegmentedPrompt
from worker.queue.metrics import FAILURES, QUEUE_WAIT
from worker.queue.queues import enqueue_publish
from worker.queue.retries import RetryLater

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # that ended without a word, as when a worker is killed, or with a crash of the model
OUTAGE_INTERVALS_S = (5, 15, 30, *(60,) * 60)  # between attempts while something else is at fault; then the sweeper's
DOUBT_INTERVALS_S = (15, 60)  # between three attempts where Label Studio answers well but for this image
SLOW_HOST_INTERVALS_S = (5, 15, 60, 120, 300, 600, 600, 600, 600)  # another host that answers others; an hour in all
UNKNOWN_HOST_INTERVALS_S = SLOW_HOST_INTERVALS_S[:3]  # that does not exist: people wait for a typo to be reported
MOST_ATTEMPTS = len(SLOW_HOST_INTERVALS_S) + 1 + MAX_ATTEMPTS  # but those that were postponed, which count as none
_AS_OFTEN_AS_NEEDED = (0,) * 1000  # a worker that ends says nothing of the row
_FETCHES = 8  # at a time
_URGENT_FETCHES = 32  # besides: these wait for nobody else's image
_TICK_S = 0.1  # that work waits for an image: of an urgent row once, of the others when there is nothing else to do

Result = str | RetryLater | Exception
"""What became of a row: its new status, for the log; or to be tried again; or an error that says nothing of the row."""


@dataclass(frozen=True)
class _Begun:
    """A row in our hands, with its question once its image is here, and its first answers if it is asked again."""

    request: PredictionRequest
    is_urgent: bool
    costed: CostedQuestion | None = None
    first: list[SegmentedPrompt] | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether an earlier attempt ended without a word: it may have killed its worker, so it is tried alone."""
        return self.request.attempts > 1 and self.request.error is None


class Predictor:
    """Computes rows. `begin` takes one in hand, each `step` gets some of those in hand done. Used from one thread."""

    def __init__(self, context: JobContext, model: BatchedModel) -> None:
        self._context = context
        self._model = model
        self._pool = ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch")
        self._urgent_pool = ThreadPoolExecutor(_URGENT_FETCHES, thread_name_prefix="fetch-urgent")
        self._fetches: dict[Future[CostedQuestion], _Begun] = {}
        self._ready: list[_Begun] = []

    def close(self) -> None:
        """Drop what is in hand; the rows stay requested."""
        for pool in (self._pool, self._urgent_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def row_ids(self) -> list[int]:
        """The rows in hand."""
        return [begun.request.id for begun in (*self._fetches.values(), *self._ready)]

    @property
    def depth(self) -> int:
        """How many rows are worth holding: those of a batch, and those whose images are fetched meanwhile."""
        return 2 * self._model.tasks_at_once()

    @property
    def is_urgent_ready(self) -> bool:
        """Whether an urgent row in hand is next, as its image is here."""
        fetched = [begun for future, begun in self._fetches.items() if future.done()]
        return any(begun.is_urgent for begun in (*fetched, *self._ready))

    def begin(self, row_id: int, *, is_urgent: bool = False) -> Result | None:
        """Take a row in hand and begin to fetch its image; or what became of it at once. StoreError if that fails.

        Waits a tenth of a second at most for an urgent row's image, so that it goes before what is ready already.
        """
        request = self._begin(row_id)
        if isinstance(request, str):
            return request
        with _log_about(request):
            fetch = partial(contextvars.copy_context().run, self._question, request)
        future = (self._urgent_pool if is_urgent else self._pool).submit(fetch)
        self._fetches[future] = _Begun(request, is_urgent)
        if is_urgent:
            wait([future], _TICK_S)
        return None

    def step(self) -> Iterator[tuple[int, Result]]:
        """Compute one urgent row, or one batch, of those whose images are here; yields what became of which row.

        Rows whose images cannot be had are among these. Waits a tenth of a second at most for images. ModelStopped:
        somebody stopped the model; the rows stay in hand.
        """
        if not self._ready:
            is_awaited = any(begun.is_urgent for begun in self._fetches.values())
            wait(self._fetches, _TICK_S, FIRST_COMPLETED if is_awaited else ALL_COMPLETED)
        for future in [future for future in self._fetches if future.done()]:
            begun = self._fetches.pop(future)
            try:
                self._ready.append(replace(begun, costed=future.result()))
            except Exception as error:  # noqa: BLE001
                yield begun.request.id, _unless_store_fails(self._not_fetched, begun.request, error)
        if self._ready:
            batch = self._next_batch()
            for costed, outcome in self._model.ask([begun.costed for begun in batch if begun.costed is not None]):
                [begun] = [begun for begun in batch if begun.costed is costed]
                self._ready.remove(begun)
                try:
                    second, best = _asked_again(begun, outcome), _better(begun, outcome)
                except Exception:  # such as too little memory: the other rows go on
                    logger.exception("task %s: a second look failed", begun.request.task_id)
                    second, best = None, outcome
                if second is not None:
                    self._ready.append(second)
                else:
                    yield begun.request.id, _unless_store_fails(self._finish, begun.request, best)

    def drop(self, row_id: int, reason: str) -> None:
        """Give up a row in hand."""
        self._forget(row_id)
        self._context.store.predictions.fail(row_id, reason)

    def put_back(self, row_id: int) -> RetryLater:
        """Leave a row in hand to another worker. StoreError if that fails: it stays in hand."""
        self._context.store.requests.put_back(row_id)
        self._forget(row_id)
        return RetryLater(_AS_OFTEN_AS_NEEDED, at_front=True)

    def _forget(self, row_id: int) -> None:
        self._ready = [begun for begun in self._ready if begun.request.id != row_id]
        for future in [future for future, begun in self._fetches.items() if begun.request.id == row_id]:
            future.cancel()
            del self._fetches[future]

    def _next_batch(self) -> list[_Begun]:
        urgent = [begun for begun in self._ready if begun.is_urgent]
        if urgent:
            return urgent[:1]
        suspects = [begun for begun in self._ready if begun.is_suspect]
        if len(suspects) == len(self._ready):
            return suspects[:1]
        asked = [begun for begun in self._ready if not begun.is_suspect]
        batch = self._model.split([begun.costed for begun in asked if begun.costed is not None])[0]
        return [begun for begun in asked if any(begun.costed is costed for costed in batch)]

    def _begin(self, row_id: int) -> PredictionRequest | str:
        request = self._context.store.requests.begin(row_id)
        if request is None:
            return "nothing to do"
        with _log_about(request):
            return self._unless_too_late(request)

    def _unless_too_late(self, request: PredictionRequest) -> PredictionRequest | str:
        store = self._context.store
        if request.interactive and (
            request.delivery == "push"
            or store.requests.waited_s(request.id) > self._context.settings.interactive_wait_s
        ):
            delay = f"{request.error} " if request.error else ""
            return self._fail(request, f"{delay}Nobody waits for this answer any more. Ask again.")
        if request.attempts > MAX_ATTEMPTS and request.error is None:
            return self._fail(request, f"The worker failed {MAX_ATTEMPTS} times over this task; its log says why.")
        if request.attempts > MOST_ATTEMPTS:  # whatever held it up before
            return self._fail(request, "The worker failed over this task again and again; its log says why.")
        if request.attempts <= 1 and request.error is None:
            self._count_wait(request)
        return request

    def flush_counts(self) -> None:
        """Tell Redis what was counted on the way to the answers."""
        self._context.metrics.flush()

    def _count_wait(self, request: PredictionRequest) -> None:
        kind = "interactive" if request.interactive else "batch"
        with suppress(StoreError):  # counting is no reason to fail
            self._context.metrics.observe_later(QUEUE_WAIT, kind, self._context.store.requests.waited_s(request.id))

    def _question(self, request: PredictionRequest) -> CostedQuestion:
        """Runs in a thread."""
        config = parse_label_config(request.project.label_config)
        reference = task_text(request.task_data, config.image_key)
        if reference is None:
            raise LabelingError(f"The task has no image: its data has no text under {config.image_key!r}.")
        asked = questions(request.plan)
        context = self._context
        image = fetch_image(reference, context.client, context.settings, task_id=request.task_id)
        width, height = image_size(image)
        context.store.images.record(
            request.project, request.task_id, reference, sha256=image.name, width=width, height=height
        )
        whole = (0, 0, width, height)
        window = image_window(request.plan, width, height) or whole
        question = Question(image, asked, None if window == whole else window)
        return CostedQuestion(context.model_of(request), question, _cost(window, asked))

    def _not_fetched(self, request: PredictionRequest, error: Exception) -> Result:
        if not isinstance(error, LabelingError | WorkerError | ARGenSegError):
            return error
        if isinstance(error, ImageOutage) or (isinstance(error, StoreError) and error.is_transient):
            return self._postpone(request, error)
        if isinstance(error, LabelingError) and error.is_transient:
            return self._try_later(request, error)
        return self._fail(request, str(error), "image")

    def _finish(self, request: PredictionRequest, outcome: Outcome) -> Result:
        """Store the answers, or what kept the model from giving them."""
        if isinstance(outcome, ModelCrashed):
            return self._try_again(request, outcome)
        if isinstance(outcome, ModelOutOfMemory):
            return (
                self._try_later(request, outcome)
                if request.attempts < MAX_ATTEMPTS
                else self._fail(request, str(outcome), "model")
            )
        if isinstance(outcome, ModelLoadError) and self._context.model_of(request) == self._context.settings.model:
            return outcome
        if isinstance(outcome, Exception):
            return self._fail(request, str(outcome), "model")
        try:
            config = parse_label_config(request.project.label_config)
            prediction = build_answer(request.plan, config, _by_prompt(outcome), request.model_version)
            if not prediction.result and (reason := self._why_not_sent(request)) is not None:
                return self._fail(request, reason, "prompt")
            delivery = self._context.store.predictions.finish(request.id, prediction)
        except StoreError as error:  # such as a full disk: no fault of the task's
            return self._postpone(request, error) if error.is_transient else error
        except LabelingError as error:
            return self._fail(request, str(error), "label_config")
        except Exception as error:
            logger.exception("task %s: the model's answers could not be stored", request.task_id)
            return error
        logger.info("task %s: %d regions, %s", request.task_id, len(prediction.result), delivery)
        if delivery == "push":
            try:
                enqueue_publish(self._context.connection, request.id)
            except (QueueFull, QueueUnreachable) as error:
                logger.warning("task %s is published later: %s", request.task_id, error)
        return "ready"

    def _why_not_sent(self, request: PredictionRequest) -> str | None:
        """Why an empty prediction must not count as done: nobody may take an unknown word for an absent thing."""
        context = self._context
        return why_nothing_was_found(known_names(context.settings, context.model_of(request)), request.plan)

    def _try_again(self, request: PredictionRequest, error: Exception) -> Result:
        if request.attempts >= MAX_ATTEMPTS:
            return self._fail(request, str(error), "model")
        logger.warning("task %s is tried again: %s", request.task_id, error)
        return RetryLater((0,) * MAX_ATTEMPTS, at_front=request.delivery == "sync")

    def _try_later(self, request: PredictionRequest, error: Exception) -> Result:
        """Where the task may be at fault: a few more times, then it has failed."""
        intervals = _intervals(error)
        if request.attempts > len(intervals):
            return self._fail(request, str(error), "image")
        logger.warning("task %s is tried again later: %s", request.task_id, error)
        self._context.store.requests.note_delay(request.id, str(error))
        return RetryLater(intervals)

    def _postpone(self, request: PredictionRequest, error: Exception) -> Result:
        """Where it is not: for as long as that lasts, and it counts as no attempt."""
        is_news = request.error != str(error)  # a long outage of many tasks must not fill the log
        logger.log(logging.WARNING if is_news else logging.DEBUG, "task %s is postponed: %s", request.task_id, error)
        self._context.store.requests.postpone(request.id, str(error))
        return RetryLater(OUTAGE_INTERVALS_S)

    def _fail(self, request: PredictionRequest, reason: str, kind: str = "other") -> str:
        """`kind`: what was at fault, as FAILURES has it."""
        self._context.store.predictions.fail(request.id, reason)
        self._context.metrics.count(FAILURES, kind)
        logger.warning("task %s failed: %s", request.task_id, reason)
        return "failed"


def _intervals(error: Exception) -> tuple[int, ...]:
    if isinstance(error, UnknownHostError):
        return UNKNOWN_HOST_INTERVALS_S
    return DOUBT_INTERVALS_S if isinstance(error, DoubtfulImageError) else SLOW_HOST_INTERVALS_S


def _cost(window: Window, prompts: Sequence[str]) -> int:
    left, top, right, bottom = window
    return (right - left) * (bottom - top) * len(prompts)


def _asked_again(begun: _Begun, outcome: Outcome) -> _Begun | None:
    """With a question about more of the image, where an object that was pointed at was seen in part."""
    if begun.costed is None or begun.first is not None or isinstance(outcome, Exception):
        return None
    question = begun.costed.question
    window = second_window(begun.request.plan, _by_prompt(outcome), question.window)
    if window is None:
        return None
    costed = replace(begun.costed, question=replace(question, window=window), cost=_cost(window, question.prompts))
    return replace(begun, costed=costed, first=outcome)


def _better(begun: _Begun, outcome: Outcome) -> Outcome:
    """The outcome, or the first answers where a second look failed or found no more."""
    if begun.first is None:
        return outcome
    if isinstance(outcome, Exception):
        return begun.first
    return outcome if finds_more(begun.request.plan, _by_prompt(outcome), _by_prompt(begun.first)) else begun.first


def _by_prompt(answers: Sequence[SegmentedPrompt]) -> dict[str, SegmentedPrompt]:
    return {answer.prompt: answer for answer in answers}


def _unless_store_fails(
    end: Callable[[PredictionRequest, Any], Result], request: PredictionRequest, what: Any
) -> Result:
    """What became of a row; the store's error if not even that can be written down: the row stays requested."""
    with _log_about(request):
        try:
            return end(request, what)
        except StoreError as error:
            return error


def _log_about(request: PredictionRequest) -> AbstractContextManager[None]:
    return log_about(project=request.project.project_id, task=request.task_id, prediction=request.id)
