"""Who is sending a prediction just now.

Two jobs of one row may run at once, as when two sweepers found it lost: each would ask Label Studio before the other
had sent, and both would send.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis.exceptions import LockError, RedisError
from redis.lock import Lock
from rq.defaults import RQ_KEY_PREFIX

from worker.queue.connection import Connection

logger = logging.getLogger(__name__)

LEASE_S = 15.0  # renewed while it is sent


@contextmanager
def only_sender(connection: "Connection", prediction_id: int) -> Iterator[bool]:
    """Whether nobody else sends this prediction, while the block runs; after a crash nobody does for LEASE_S.

    It keeps two from asking at the same moment, and nothing else: what was sent is in the store and in Label Studio. So
    without Redis the answer is yes.
    """
    lock = connection.lock(sending_key(prediction_id), timeout=LEASE_S, thread_local=False)
    try:
        is_only, is_held = bool(lock.acquire(blocking=False)), True
    except RedisError as error:
        logger.warning("prediction %d is sent without asking who else does: %s", prediction_id, error)
        is_only, is_held = True, False
    if not (is_only and is_held):
        yield is_only
        return
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(lock, ended), daemon=True)
    renewal.start()
    try:
        yield True
    finally:
        ended.set()
        renewal.join()
        with suppress(LockError, RedisError):  # it ran out, or does so soon
            lock.release()


def _renew(lock: Lock, ended: threading.Event) -> None:
    while not ended.wait(LEASE_S / 3):
        with suppress(LockError, RedisError):
            lock.reacquire()


def sending_key(prediction_id: int) -> str:
    """Where Redis keeps it."""
    return f"{RQ_KEY_PREFIX}:sending:{prediction_id}"
