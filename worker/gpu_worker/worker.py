"""The GPU worker: takes wanted predictions off the `gpu` queue and has its one model process compute them. No torch."""

import logging
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from redis import Redis
from rq import Queue
from rq.job import Job

from labeling.settings import Settings
from worker import jobs
from worker.errors import ModelLoadError
from worker.gpu_worker.model_child import ARGENSEG, ModelOptions
from worker.gpu_worker.model_process import ModelProcess
from worker.leased_worker import LeasedWorker
from worker.queues import GPU

logger = logging.getLogger(__name__)


class GpuWorker(LeasedWorker):
    """To RQ the model process is the "work horse": stopping a job, or a second Ctrl-C, kills it and leaves us alive."""

    def __init__(self, connection: "Redis", functions: Mapping[str, Callable[..., Any]], model: ModelProcess) -> None:
        super().__init__(GPU, connection, functions)
        self._model = model

    @property
    def horse_pid(self) -> int:
        return self._model.pid or 0

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        self._model.stop_request()

    def execute_job(self, job: Job, queue: Queue) -> None:
        self._model.accept_requests()
        super().execute_job(job, queue)
        if self._model.load_error is not None:  # every further job would fail too, and lose its turn for nothing
            self._stop_requested = True


def run(settings: Settings, loader: str = ARGENSEG) -> int:
    """Load the model, then work until told to stop. Returns the exit code.

    It is 0, or os.EX_CONFIG if the model cannot be loaded, or 1 if it cannot be loaded again after a crash. `loader`
    makes the segmenter in the model process (see ModelOptions).
    """
    model = ModelProcess(
        ModelOptions(settings.model, settings.device, settings.max_image_pixels, settings.log_level, loader)
    )
    try:
        with jobs.JobContext.open(settings) as context:
            worker = GpuWorker(context.connection, jobs.gpu_functions(context, model), model)
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
