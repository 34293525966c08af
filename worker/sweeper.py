"""Finds what got lost, from the store, and puts it back to work.

The only path of recovery: a worker killed in the middle of a job, a Redis that lost its queue, a full queue, a webhook
that could not be stored or enqueued. Any number of copies may run.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from labeling.errors import LabelingError
from labeling.logs import log_about
from labeling.store.base import in_pages
from worker import retention
from worker.context import JobContext
from worker.errors import QueueUnreachable
from worker.events import spool
from worker.events.process import process_event
from worker.notices import Watch
from worker.queue.heartbeats import SWEEPER, Heartbeat
from worker.queue.queues import (
    GPU,
    PREDICT,
    PUBLISH,
    PUBLISH_PREDICTION,
    TRY_PROMPTS,
    WORKED_BY,
    end_turn,
    enqueue_rows,
    live_rows,
    requeue_due_retries,
    take_turn,
)
from worker.reconcile import project_sync

logger = logging.getLogger(__name__)

RETRY_TICK_S = 1.0
SWEEP_INTERVAL_S = 10.0
PRUNE_INTERVAL_S = 3600.0
ROWS_AT_A_TIME = 1000
_TURN_S = 20  # longer than that many take
STALE_S = 30.0  # longer than a request waits for its result, and than a webhook takes to be processed


def sweep(context: JobContext, stale_s: float = STALE_S, *, on_tick: Callable[[], None] = lambda: None) -> int:
    """Put back whatever has not moved for `stale_s` seconds and is not under way; returns how many things.

    A part that fails, for whatever reason, is logged and left for the next time; the others go on. `on_tick` is called
    before each thing: after an outage there may be many.
    """
    store = context.store
    parts: list[Callable[[], int]] = [
        lambda: _drain_spool(context, on_tick),
        lambda: _process_events(context, stale_s, on_tick),
        lambda: _enqueue_lost(context, partial(store.requests.stale, stale_s), GPU, PREDICT, on_tick),
        lambda: _enqueue_lost(context, partial(store.trials.stale, stale_s), GPU, TRY_PROMPTS, on_tick),
    ]
    if context.client is not None:
        parts.append(
            lambda: _enqueue_lost(
                context, partial(store.predictions.unpublished, stale_s), PUBLISH, PUBLISH_PREDICTION, on_tick
            )
        )
    return sum(_attempt(part) for part in parts)


def run(context: JobContext, stop: threading.Event) -> None:
    """Sweep every few seconds until `stop` is set, and move retries that are due back into their queue.

    Beside it, in a thread because a large project takes minutes, annotations that webhooks missed are looked for.
    """
    threading.Thread(target=project_sync.run, args=(context, stop), name="reconcile", daemon=True).start()
    next_sweep, heartbeat = time.monotonic(), Heartbeat(context.connection, SWEEPER)
    next_pruning, watch = next_sweep, Watch.of(context)
    while True:
        heartbeat.tick()
        for name in WORKED_BY:
            _attempt(partial(requeue_due_retries, context.connection, name))
        if time.monotonic() >= next_sweep:
            if swept := sweep(context, on_tick=heartbeat.tick):
                logger.info("%d things that got lost are under way again", swept)
            next_sweep = time.monotonic() + SWEEP_INTERVAL_S
        if time.monotonic() >= next_pruning:
            _attempt(partial(_prune, context))
            next_pruning = time.monotonic() + PRUNE_INTERVAL_S
        if watch is not None:
            watch.tick()
        if stop.wait(RETRY_TICK_S):
            return


def _attempt(part: Callable[[], int]) -> int:
    try:
        return part()
    except (LabelingError, QueueUnreachable, OSError) as error:
        logger.warning("a sweep is postponed: %s", error)
    except Exception:  # whatever is wrong with one thing, the others must be found
        logger.exception("a sweep failed; it is tried again")
    return 0


def _prune(context: JobContext) -> int:
    pruned = retention.prune(context.settings, context.store)
    if pruned.events or pruned.answers or pruned.images:
        logger.info("kept long enough, and deleted: %s", pruned)
    return 0


def _drain_spool(context: JobContext, on_tick: Callable[[], None]) -> int:
    folder = spool.spool_folder(context.settings)
    return len(spool.drain(folder, context.store, context.settings.installation_url, on_tick=on_tick))


def _process_events(context: JobContext, stale_s: float, on_tick: Callable[[], None]) -> int:
    count = 0
    for some in in_pages(partial(context.store.events.unprocessed, stale_s), ROWS_AT_A_TIME):
        for event_id in some:
            on_tick()
            process_event(context, event_id)
        count += len(some)
    return count


def _enqueue_lost(
    context: JobContext, find: Callable[..., list[int]], queue_name: str, function: str, on_tick: Callable[[], None]
) -> int:
    """Until the queue is full: of a large project there are more requests than it takes. One sweeper at a time: two
    would queue everything twice, and two publishers might send it at the same moment.
    """
    count, live = 0, None
    try:
        for some in in_pages(find, ROWS_AT_A_TIME):
            on_tick()
            if not take_turn(context.connection, function, _TURN_S, again=live is not None):
                break
            live = live_rows(context.connection, queue_name, function) if live is None else live
            lost = [row_id for row_id in some if row_id not in live]
            queued = enqueue_rows(context.connection, queue_name, function, lost)
            for row_id in lost[:queued]:
                with log_about(prediction=row_id):
                    logger.info("its job (%s) had got lost, and is queued again", function)
            count += queued
            if queued < len(lost):
                break
    finally:
        if live is not None:
            end_turn(context.connection, function)
    return count
