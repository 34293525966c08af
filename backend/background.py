"""Work that an answer to Label Studio must not wait for, or not for long: a few threads behind a bounded queue."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import ParamSpec, TypeVar

from redis import RedisError

from labeling.errors import LabelingError
from worker.errors import WorkerError

logger = logging.getLogger(__name__)

OUTAGES = (LabelingError, WorkerError, RedisError, OSError)  # everything else is a bug: logged with its traceback

P = ParamSpec("P")
T = TypeVar("T")


class Background:
    """Runs functions in threads. What fails is logged and left to the sweeper: the store knows what is unfinished.

    What is waited for has threads of its own: thousands of jobs that are being queued do not hold it up.
    """

    def __init__(self, threads: int = 4, max_pending: int = 1000) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="background")
        self._awaited = ThreadPoolExecutor(threads, thread_name_prefix="awaited")
        self._places = threading.BoundedSemaphore(max_pending)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run it when a thread is free; only a line in the log if too much is waiting already."""
        self._run(self._pool, function, *args, **kwargs)

    def call(self, timeout_s: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Run it and wait for its result; None if it failed, or took longer (then it goes on without us)."""
        future = self._run(self._awaited, function, *args, **kwargs)
        if future is None:
            return None
        wait([future], timeout_s)
        if not future.done():
            future.cancel()
            logger.warning("%s takes longer than %.1f s; the answer does not wait.", function.__name__, timeout_s)
            return None
        return None if future.exception() else future.result()

    def close(self) -> None:
        """Drop what has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._awaited.shutdown(wait=False, cancel_futures=True)

    def _run(
        self, pool: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> "Future[T] | None":
        if not self._places.acquire(blocking=False):
            logger.warning("Too much is waiting; %s is left to the sweeper.", function.__name__)
            return None
        future = pool.submit(function, *args, **kwargs)
        future.add_done_callback(partial(self._done, function.__name__))
        return future

    def _done(self, name: str, future: "Future[T]") -> None:
        self._places.release()
        error = None if future.cancelled() else future.exception()
        if isinstance(error, OUTAGES):
            logger.warning("%s is left to the sweeper: %s", name, error)
        elif error is not None:
            logger.error("Background work failed.", exc_info=error)
