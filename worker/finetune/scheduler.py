"""The process that requests the runs whose turn has come, and drives one run at a time.

Any number of copies may be at work: a turn is requested once.
"""

import logging
import socket
import threading
import uuid
from datetime import UTC, datetime

from labeling.errors import LabelingError
from worker.context import JobContext
from worker.finetune.run import LEASE_S, drive
from worker.finetune.turns import check_cron, request_due
from worker.queue.heartbeats import SCHEDULER, beat

logger = logging.getLogger(__name__)

TICK_S = 5.0
LOOK_S = 20.0


def new_holder() -> str:
    """A name for a process that drives runs."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


def run(context: JobContext, stop: threading.Event) -> None:
    """Request what is due and drive it, one run at a time, until `stop` is set; then a run is left for later.

    Call it from the main thread: the kernel ends a training process with the thread that started it.
    """
    if context.settings.finetune_cron is not None:
        check_cron(context.settings.finetune_cron)
    clock = threading.Thread(target=_keep_looking, args=(context, stop), name="schedule", daemon=True)
    clock.start()
    holder = new_holder()
    while not stop.is_set():
        try:
            claimed = context.store.finetunes.claim(holder, LEASE_S)
            if claimed is not None:
                drive(context, claimed, holder, stop.is_set)
                continue
        except LabelingError as error:
            logger.warning("fine-tuning is postponed: %s", error)
        stop.wait(TICK_S)
    clock.join()


def _keep_looking(context: JobContext, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            request_due(context.settings, context.store, datetime.now(UTC))
            beat(context.connection, SCHEDULER)
        except LabelingError as error:
            logger.warning("the schedule is looked at later: %s", error)
        except Exception:  # it must not end unseen
            logger.exception("the schedule is looked at later")
        stop.wait(LOOK_S)
