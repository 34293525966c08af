"""Signs of life of the processes that work on no queue: of the others, RQ keeps a list."""

import logging
import socket
import time
from dataclasses import dataclass

from redis import RedisError
from rq.defaults import RQ_KEY_PREFIX

from worker.queue.connection import Connection, asking_redis

logger = logging.getLogger(__name__)

SWEEPER = "sweeper"
SCHEDULER = "scheduler"

_LASTS_S = 120  # longer than one step of a process's work takes
_EVERY = 1 / 6  # of that


@dataclass
class Heartbeat:
    """Of one process, which gives it between the steps of its work: no thread does, because that would go on for a
    process that hangs.
    """

    connection: "Connection"
    process: str
    _next: float = float("-inf")

    def tick(self) -> None:
        """Call it often: it beats now and then."""
        if time.monotonic() >= self._next:
            beat(self.connection, self.process)
            self._next = time.monotonic() + _LASTS_S * _EVERY


def beat(connection: "Connection", process: str) -> None:
    """Say that a copy of this process is at work. A Redis that does not answer is no reason to stop."""
    try:
        with connection.pipeline(transaction=False) as pipeline:
            for key in (_key(process), _key(process, socket.gethostname())):
                pipeline.set(key, 1, ex=_LASTS_S)
            pipeline.execute()
    except RedisError as error:
        logger.debug("no sign of life: %s", error)


def tell_once(connection: "Connection", key: str, lasts_s: int) -> bool:
    """Whether nobody said `key` in the last `lasts_s` seconds, and we may; yes too while Redis does not answer."""
    try:
        return bool(connection.set(f"{RQ_KEY_PREFIX}:told:{key}", 1, ex=lasts_s, nx=True))
    except RedisError as error:
        logger.debug("it may be told twice: %s", error)
        return True


@asking_redis()
def is_alive(connection: "Connection", process: str, *, host: str | None = None) -> bool:
    """Whether a copy of it, on `host` or anywhere, gave a sign of life in the last minutes.

    QueueUnreachable if Redis does not answer.
    """
    return bool(connection.exists(_key(process, host)))


def _key(process: str, host: str | None = None) -> str:
    copy = f"{process}:{host}" if host else process
    return f"{RQ_KEY_PREFIX}:alive:{copy}"  # as RQ's own, which may be another installation's or all that we may use
