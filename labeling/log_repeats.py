"""A disk that is full or a Redis that takes nothing is said once a minute, not a thousand times a second."""

import logging
import threading
import time

MOST = 10
"""Of warnings and errors of one kind (the same logger and message, whatever is put into it) in `WITHIN_S`."""

WITHIN_S = 60.0
_KINDS = 1000  # remembered; a message that is put together before it is logged is a kind of its own


class NoRepeats(logging.Filter):
    """Lets the first `MOST` of a kind pass, and with the first one of the next minute says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}  # until when, and how many there were

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        kind, now = (record.name, str(record.msg)), time.monotonic()
        with self._lock:
            ends, count = self._passed.get(kind, (0.0, 0))
            if now < ends:
                self._passed[kind] = ends, count + 1
                return count < MOST
            if len(self._passed) >= _KINDS:
                self._passed.clear()
            self._passed[kind] = now + WITHIN_S, 1
        if count > MOST:
            record.msg = f"{record.getMessage()} ({count - MOST} more like this were not logged.)"
            record.args = ()
        return True
