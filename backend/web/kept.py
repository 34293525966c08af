"""What pages show and somebody else has to be asked for: kept for a while, and asked again beside the answer."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from backend.web.background import OUTAGES

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Kept(Generic[T]):
    """The result of `look`, at most `max_age_s` old where it can be had; meanwhile the one before, at first `empty`.

    One thread looks at a time, its own, so that a hang holds up nothing else; a page waits for it a moment only.
    """

    def __init__(self, look: Callable[[], T], max_age_s: float, empty: T) -> None:
        self._look, self._max_age_s, self._value = look, max_age_s, empty
        self._next = float("-inf")
        self._turn = threading.Lock()

    def get(self, wait_s: float = 0.2) -> T:
        """What is known by now."""
        if time.monotonic() >= self._next and self._turn.acquire(blocking=False):
            self._next = time.monotonic() + self._max_age_s
            thread = threading.Thread(target=self._refresh, name=self._look.__name__, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread can be had just now: the next look is in its time
                self._turn.release()
                return self._value
            thread.join(wait_s)
        return self._value

    def _refresh(self) -> None:
        try:
            self._value = self._look()
        except OUTAGES as error:
            logger.warning("A page shows what was known before: %s", error)
        except Exception:
            logger.exception("A page shows what was known before.")
        finally:
            self._turn.release()
