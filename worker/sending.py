"""Who is sending a prediction just now.

Two jobs of one row may run at once, as when two sweepers found it lost: each would ask Label Studio before the other
had sent, and both would send.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.exceptions import LockError, RedisError
from rq.defaults import RQ_KEY_PREFIX

logger = logging.getLogger(__name__)

LEASE_S = 150.0  # longer than asking Label Studio twice, sending and deleting take, of which each may wait for 30 s


@contextmanager
def only_sender(connection: "Redis", prediction_id: int) -> Iterator[bool]:
    """Whether nobody else sends this prediction, while the block runs; after a crash nobody does for LEASE_S.

    It keeps two from asking at the same moment, and nothing else: what was sent is in the store and in Label Studio. So
    without Redis the answer is yes.
    """
    lock = connection.lock(sending_key(prediction_id), timeout=LEASE_S)
    try:
        is_only, is_held = bool(lock.acquire(blocking=False)), True
    except RedisError as error:
        logger.warning("prediction %d is sent without asking who else does: %s", prediction_id, error)
        is_only, is_held = True, False
    try:
        yield is_only
    finally:
        if is_only and is_held:
            with suppress(LockError, RedisError):  # it ran out, or does so soon
                lock.release()


def sending_key(prediction_id: int) -> str:
    """Where Redis keeps it."""
    return f"{RQ_KEY_PREFIX}:sending:{prediction_id}"
