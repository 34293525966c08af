"""Trials of prompts, a task at a time: whoever waits for a mask waits for one task of a trial at most.

Label Studio is asked, and images are fetched, in a thread, while the model works on what is there.
"""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from argenseg_model.errors import ARGenSegError
from argenseg_model.images import image_size
from labeling.errors import LabelingError, StoreError
from labeling.label_studio.images import fetch_image
from labeling.prompts.label_config import parse_label_config
from labeling.store import PromptTrial, TrialMasks, TrialStatus, TrialTask
from labeling.trials.annotated_tasks import annotated_tasks, read_task
from labeling.trials.masks import write_png
from labeling.trials.measures import found_mask, measure, truth_masks
from labeling.trials.wordings import Wording, all_questions
from worker.context import JobContext
from worker.errors import ModelLoadError, ModelStopped, WorkerError
from worker.gpu_worker.batches import BatchedModel, CostedQuestion
from worker.gpu_worker.model_child import Question
from worker.gpu_worker.predictor import Result
from worker.queue.retries import RetryLater

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # at one task, without a word in the end, as when a worker is killed
OUTAGE_INTERVALS_S = (5, 15, 60, 120, 300, 600, 600, 600, 600)
_TICK_S = 0.1  # that a trial's next task is waited for, where nothing else is to do


@dataclass(frozen=True)
class _Ready:
    """A task whose image is here, with what people drew in it."""

    task: TrialTask
    question: CostedQuestion
    truth: tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True)
class _Unusable:
    """A task that counts for nothing."""

    task: TrialTask
    problem: str


@dataclass(frozen=True)
class _Nothing:
    """There is no task to try: `reason` is None where all were tried."""

    reason: str | None = None


_Prepared = _Ready | _Unusable | _Nothing


class PromptTrials:
    """Tries wordings. `begin` takes a trial in hand, each `step` tries one task of it. Used from one thread."""

    def __init__(self, context: JobContext, model: BatchedModel) -> None:
        self._context = context
        self._model = model
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="trial")
        self._next: dict[int, Future[_Prepared]] = {}

    def close(self) -> None:
        """Drop what is in hand; the trials stay open."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, trial_id: int) -> Result | None:
        """Take a trial in hand; what became of it, if there is nothing to do. StoreError if that fails."""
        trial = self._context.store.trials.begin(trial_id)
        if trial is None:
            return "nothing to do"
        if trial.attempts > MAX_ATTEMPTS and (task := self._context.store.trials.next_task(trial_id)) is not None:
            problem = f"The worker failed {MAX_ATTEMPTS} times over it; its log says why."
            self._context.store.trials.save_task(task, problem=problem)
        self._prepare_next(trial)
        return None

    def step(self, trial_id: int, *, may_wait: bool) -> Result | None:
        """Try a trial's next task, if it is here; what became of the trial when it is over, None while it goes on.

        With `may_wait`, up to a tenth of a second for the task. ModelStopped as the model.
        """
        future = self._next[trial_id]
        if may_wait:
            wait([future], _TICK_S)
        if not future.done():
            return None
        try:
            trial = self._context.store.trials.get(trial_id)
            if not trial.is_open:
                return trial.status
            ended = self._finish(trial, future.result())
            if ended is None:
                self._prepare_next(trial)
            return ended
        except ModelStopped:
            raise
        except StoreError as error:
            return error
        except (LabelingError, WorkerError) as error:
            return self._not_prepared(trial, error)
        except Exception as error:  # a bug: other work goes on
            logger.exception("trial %d failed", trial_id)
            self.cancel(trial_id, "failed", "The worker failed over it; its log says why.")
            return error

    def cancel(self, trial_id: int, status: TrialStatus = "cancelled", reason: str | None = None) -> None:
        """Close a trial whose job was stopped. A store that does not answer leaves it open."""
        with suppress(StoreError):
            self._context.store.trials.end(trial_id, status, reason)

    def forget(self, trial_id: int) -> None:
        """Drop a trial; what it was about to try is tried again by whoever takes it up."""
        if (future := self._next.pop(trial_id, None)) is not None:
            future.cancel()

    def _prepare_next(self, trial: PromptTrial) -> None:
        self._next[trial.id] = self._pool.submit(self._prepare, trial)

    def _prepare(self, trial: PromptTrial) -> _Prepared:
        """Runs in a thread."""
        context, config = self._context, parse_label_config(trial.project.label_config)
        if context.client is None:
            return _Nothing("Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY of the worker: it reads annotations there.")
        if not trial.tasks:
            found = annotated_tasks(context.client, trial.project.project_id, config, trial.label, trial.task_limit)
            if not found:
                return _Nothing("The project has no submitted annotation to compare with. Annotate some tasks first.")
            context.store.trials.set_tasks(trial.id, [(each.task_id, each.data) for each in found])
        task = context.store.trials.next_task(trial.id)
        if task is None:
            return _Nothing()
        try:
            read = read_task(context.client, {"id": task.task_id, "data": task.data}, config, trial.label)
            if read is None:
                return _Unusable(task, "its annotation is gone")
            image = fetch_image(read.image_reference(config), context.client, context.settings, task_id=task.task_id)
            width, height = image_size(image)
        except (LabelingError, ARGenSegError) as error:
            if isinstance(error, LabelingError) and error.is_transient:
                raise
            return _Unusable(task, str(error))
        truth = tuple(truth_masks(read.regions))
        if any(mask.shape != (height, width) for mask in truth):
            return _Unusable(task, "its annotation was drawn on an image of another size")
        asked = all_questions(_wordings(trial))
        return _Ready(task, CostedQuestion(trial.model, Question(image, asked), width * height * len(asked)), truth)

    def _finish(self, trial: PromptTrial, prepared: _Prepared) -> Result | None:
        trials = self._context.store.trials
        if isinstance(prepared, _Nothing):
            trials.end(trial.id, "done" if prepared.reason is None else "failed", prepared.reason)
            return "done" if prepared.reason is None else "failed"
        if isinstance(prepared, _Unusable):
            trials.save_task(prepared.task, problem=prepared.problem)
            return None
        began = time.monotonic()
        [(_, outcome)] = self._model.ask([prepared.question])
        if isinstance(outcome, ModelLoadError):
            if trial.model == self._context.settings.model:
                return outcome  # the worker ends over it; the trial stays open
            trials.end(trial.id, "failed", str(outcome))
            return "failed"
        if isinstance(outcome, Exception):
            trials.save_task(prepared.task, problem=str(outcome))
            return None
        seconds = time.monotonic() - began
        answers = {each.prompt: each for each in outcome}
        found = [found_mask(each, answers) for each in _wordings(trial)]
        measures = [
            measure(wording, mask, prepared.truth).to_json()
            for wording, mask in zip(_wordings(trial), found, strict=True)
        ]
        drawn = write_png(np.logical_or.reduce(prepared.truth)) if prepared.truth else None
        masks = TrialMasks(drawn, tuple(map(write_png, found)))
        trials.save_task(prepared.task, seconds=seconds, measures=measures, masks=masks)
        return None

    def _not_prepared(self, trial: PromptTrial, error: LabelingError | WorkerError) -> Result:
        """Label Studio could not be asked: that is tried again where it may pass."""
        try:
            if isinstance(error, LabelingError) and error.is_transient:
                logger.warning("trial %d is tried again later: %s", trial.id, error)
                self._context.store.trials.note_delay(trial.id, str(error))
                return RetryLater(OUTAGE_INTERVALS_S)
            self._context.store.trials.end(trial.id, "failed", str(error))
        except StoreError as store_error:
            return store_error
        return "failed"


def _wordings(trial: PromptTrial) -> list[Wording]:
    return [Wording.from_json(each) for each in trial.wordings]
