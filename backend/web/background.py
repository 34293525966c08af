"""Work that an answer to Label Studio must not wait for, or not for long: a few threads behind a bounded queue."""

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import ParamSpec, TypeVar

from labeling.errors import LabelingError
from worker.errors import WorkerError

logger = logging.getLogger(__name__)

OUTAGES = (LabelingError, WorkerError, OSError)  # everything else is a bug: logged with its traceback

P = ParamSpec("P")
T = TypeVar("T")


class _Pool:
    """A few threads, and the places of what they run and what waits for them."""

    def __init__(self, threads: int, places: int, name: str) -> None:
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.places = threading.BoundedSemaphore(places)


class Background:
    """Runs functions in threads. What fails is logged and left to the sweeper: the store knows what is unfinished.

    Each function that is waited for has threads of its own: neither thousands of jobs that are being queued nor a Redis
    that hangs hold up what asks the database. Of these nothing is queued: a hang holds few of what may be large.
    """

    def __init__(self, threads: int = 4, max_pending: int = 1000) -> None:
        self._threads = threads
        self._pool = _Pool(threads, max_pending, "background")
        self._awaited: dict[str, _Pool] = {}

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run it when a thread is free; only a line in the log if too much is waiting already."""
        if not self._pool.places.acquire(blocking=False):
            logger.warning("Too much is waiting; %s is left to the sweeper.", function.__name__)
            return
        self._run(self._pool, function, *args, **kwargs)

    def call(self, timeout_s: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Run it and wait for its result; None if it failed, or took longer (then it may go on without us)."""
        name, until = function.__name__, time.monotonic() + timeout_s
        pool = self._awaited.get(name) or self._awaited.setdefault(name, _Pool(self._threads, self._threads, name))
        if not pool.places.acquire(timeout=timeout_s):
            logger.warning("All threads of %s hang; the answer does not wait.", name)
            return None
        try:
            future = self._run(pool, function, *args, **kwargs)
        except RuntimeError:  # closed: this process ends
            return None
        wait([future], max(0.0, until - time.monotonic()))
        if future.cancel() or not future.done():
            logger.warning("%s takes longer than %.1f s; the answer does not wait.", name, timeout_s)
            return None
        return None if future.exception() else future.result()

    def close(self) -> None:
        """Drop what has not begun."""
        for pool in (self._pool, *self._awaited.values()):
            pool.threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, pool: _Pool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """In a place that was taken, and is given back when it is over."""
        as_here = partial(contextvars.copy_context().run, function)  # what the log says it is about
        future = pool.threads.submit(as_here, *args, **kwargs)
        future.add_done_callback(partial(self._done, pool, function.__name__))
        return future

    def _done(self, pool: _Pool, name: str, future: "Future[T]") -> None:
        pool.places.release()
        error = None if future.cancelled() else future.exception()
        if isinstance(error, OUTAGES):
            logger.warning("%s is left to the sweeper: %s", name, error)
        elif error is not None:
            logger.error("Background work failed.", exc_info=error)
