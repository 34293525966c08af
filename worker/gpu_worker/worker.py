"""The GPU worker: takes requested predictions off the `gpu` queue and has its one model process compute them. No torch.

All that reaches into RQ for taking several jobs at a time is here; pyproject.toml holds RQ at one minor version for it.
"""

import logging
import math
import os
import signal
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from types import MappingProxyType
from typing import Any

from rq import Queue, worker_registration
from rq.executions import Execution
from rq.job import Job
from rq.utils import as_text, now
from rq.worker import WorkerStatus

from labeling.errors import StoreError
from labeling.settings import Settings
from labeling.versions import weights_name
from worker.context import JobContext
from worker.errors import ForbiddenJob, ModelLoadError, ModelStopped
from worker.gpu_worker.batches import BatchedModel
from worker.gpu_worker.model_child import ARGENSEG, ModelOptions
from worker.gpu_worker.model_process import ModelProcess
from worker.gpu_worker.predictor import Predictor, Result
from worker.gpu_worker.trials import PromptTrials
from worker.queue.connection import Connection
from worker.queue.leased_worker import LeasedWorker
from worker.queue.metrics import BATCH_SIZE, INFERENCE, ONLY, Metrics
from worker.queue.queues import GPU, PREDICT, TRY_PROMPTS, is_trial, is_urgent
from worker.queue.retries import RetryLater
from worker.queue.worker_list import DEVICE, MODEL, note_end

logger = logging.getLogger(__name__)

_AS_OFTEN_AS_NEEDED = (0,) * 1000  # a worker that ends says nothing of a trial


class GpuWorker(LeasedWorker):
    """Holds a few jobs at a time, each under its own lease; those that somebody waits for go first, one by one. A trial
    of prompts goes on between them, a task at a time, and takes turns with what nobody waits for.

    To RQ the model process is the "work horse": stopping a job, or a second Ctrl-C, kills it and leaves us alive.
    """

    def __init__(
        self,
        connection: "Connection",
        predictor: Predictor,
        trials: PromptTrials,
        model: ModelProcess,
        says: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`says`: what it tells of itself to who lists the workers."""
        super().__init__(GPU, connection, {PREDICT: int, TRY_PROMPTS: int})
        self._says = dict(says)
        self._predictor = predictor
        self._trials = trials
        self._model = model
        self._held: dict[int, tuple[Job, Execution]] = {}  # by row
        self._tried: dict[int, tuple[Job, Execution]] = {}  # by trial

    def register_birth(self) -> None:
        super().register_birth()  # type: ignore[no-untyped-call]
        if self._says:
            self.connection.hset(self.key, mapping=dict[Any, Any](self._says))

    @property
    def horse_pid(self) -> int:
        return self._model.pid or 0

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        self._model.stop_request()

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Compute this job, and those that are queued meanwhile, until none is left in our hands."""
        self._model.accept_requests()
        with self._renewed_leases(lambda: [*self._held.values(), *self._tried.values()]):
            self._accept(job, queue)
            while self._held or self._tried:
                self._take_more(queue)
                if self._held:
                    self._compute(queue)
                self._predictor.flush_counts()
                if not any(is_urgent(held.id) for held, _ in self._held.values()):
                    self._try_prompts(queue)
                if (
                    self._model.load_error is not None
                ):  # every further job would fail too, and lose its turn for nothing
                    self._stop_requested = True
                if self._stop_requested:
                    for row_id in list(self._held):
                        self._end(row_id, queue, self._put_back(row_id))
                    for trial_id in list(self._tried):
                        self._end_trial(trial_id, queue, RetryLater(_AS_OFTEN_AS_NEEDED, at_front=True))
                elif self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self.set_state(WorkerStatus.IDLE)

    def _take_more(self, queue: Queue) -> None:
        """What is urgent, until one of it can be computed, and our share of the rest, as much as is worth holding."""
        while not self._stop_requested and not self._predictor.is_urgent_ready:
            with self.connection.pipeline(transaction=False) as pipeline:
                pipeline.lindex(queue.key, 0)
                pipeline.llen(queue.key)
                pipeline.scard(worker_registration.WORKERS_BY_QUEUE_KEY % queue.name)
                front, queued, workers = pipeline.execute()
            if front is None:
                return
            held = sum(not is_urgent(job.id) for job, _ in self._held.values())
            share = math.ceil((queued + held) / max(workers, 1))
            takes_place = not (is_urgent(as_text(front)) or is_trial(as_text(front)))
            if takes_place and held >= min(self._predictor.depth, share):
                return
            taken = self.queue_class.dequeue_any(
                [queue], None, connection=self.connection, job_class=self.job_class, serializer=self.serializer
            )
            if taken is None:
                return
            self._accept(*taken)

    def _accept(self, job: Job, queue: Queue) -> None:
        """Take a job in hand, or end it at once: what is not wanted any more, what is not ours."""
        execution = self.prepare_execution(job)
        try:
            self.prepare_job_execution(job, remove_from_intermediate_queue=True)
            job.started_at = now()
            row_id = _row_of(job)
            if is_trial(job.id):
                self._accept_trial(row_id, job, execution, queue)
                return
            if row_id in self._held:  # requested again, perhaps by somebody who waits: this job takes its place
                self._predictor.put_back(row_id)
                self._end(row_id, queue, "nothing to do")
            self._held[row_id] = job, execution
            result = self._predictor.begin(row_id, is_urgent=is_urgent(job.id))
        except (ForbiddenJob, TypeError, ValueError, StoreError) as error:
            self._held = {row: held for row, held in self._held.items() if held[0] is not job}
            self._finalize(job, queue, execution, error)
            return
        if result is not None:
            self._end(row_id, queue, result)

    def _accept_trial(self, trial_id: int, job: Job, execution: Execution, queue: Queue) -> None:
        if trial_id in self._tried:  # the sweeper thought that it was lost
            self._finalize(job, queue, execution, "nothing to do")
            return
        result = self._trials.begin(trial_id)
        self._tried[trial_id] = job, execution
        if result is not None:
            self._end_trial(trial_id, queue, result)

    def _try_prompts(self, queue: Queue) -> None:
        """One task of each trial."""
        for trial_id, (job, _) in list(self._tried.items()):
            try:
                result = self._trials.step(trial_id, may_wait=not self._held)
            except ModelStopped as error:
                self._model.accept_requests()
                result = error if job.id == self._stopped_job_id else None
                if result is not None:
                    self._trials.cancel(trial_id)
            if result is not None:
                self._end_trial(trial_id, queue, result)

    def _end_trial(self, trial_id: int, queue: Queue, result: Result) -> None:
        self._trials.forget(trial_id)
        job, execution = self._tried.pop(trial_id)
        self._finalize(job, queue, execution, result)

    def _compute(self, queue: Queue) -> None:
        try:
            for row_id, result in self._predictor.step():
                self._end(row_id, queue, result)
        except ModelStopped as error:
            self._model.accept_requests()
            for row_id, (job, _) in list(self._held.items()):
                if job.id == self._stopped_job_id:
                    self._predictor.drop(row_id, str(error))
                    self._end(row_id, queue, error)

    def _put_back(self, row_id: int) -> Result:
        try:
            return self._predictor.put_back(row_id)
        except StoreError as error:  # the sweeper finds the row
            return error

    def _end(self, row_id: int, queue: Queue, result: Result) -> None:
        job, execution = self._held.pop(row_id)
        self._finalize(job, queue, execution, result)
        note_end(self.connection, self.key, row_id)

    def _finalize(self, job: Job, queue: Queue, execution: Execution, result: Result) -> None:
        if isinstance(result, Exception):
            self._finalize_failure(job, queue, execution, (type(result), result, result.__traceback__))
        else:
            self._finalize_success(job, queue, execution, result)


def _row_of(job: Job) -> int:
    """The row that a job is about. ForbiddenJob, TypeError or ValueError if it is none of ours."""
    return int(job.func(*job.args, **job.kwargs))


def _count_batch(metrics: Metrics, tasks: int, seconds: float) -> None:
    metrics.observe_later(BATCH_SIZE, ONLY, tasks)
    metrics.observe_later(INFERENCE, ONLY, seconds)


def run(settings: Settings, loader: str | None = None) -> int:
    """Load the model, then work until asked to stop. Returns the exit code.

    It is 0, or os.EX_CONFIG if the model cannot be loaded, or 1 if it cannot be loaded again after a crash. `loader`
    makes the segmenter in the model process (see ModelOptions), by default that of the settings.
    """
    options = ModelOptions(
        settings.model,
        settings.device,
        settings.max_image_pixels,
        settings.log_level,
        loader or settings.model_loader or ARGENSEG,
        settings.models_in_memory,
        log_format=settings.log_format,
    )
    model = ModelProcess(options, memory_limit_bytes=settings.model_memory_limit)
    try:
        with JobContext.open(settings) as context:
            count = partial(_count_batch, context.metrics)
            batched = BatchedModel(model, settings.max_batch_tasks, settings.segment_timeout_s, count)
            with closing(Predictor(context, batched)) as predictor, closing(PromptTrials(context, batched)) as trials:
                says = {MODEL: weights_name(settings.model)[0], DEVICE: settings.device}
                worker = GpuWorker(context.connection, predictor, trials, model, says)
                model.start()
                worker.work(logging_level="WARNING")
    except ModelLoadError as error:
        logger.error("%s", error)
        return os.EX_CONFIG
    finally:
        model.close()
    if model.load_error is not None:
        logger.error("%s", model.load_error)
        return 1
    return 0
