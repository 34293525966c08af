"""What a request handler needs: made once by `create_app`, handed to each blueprint."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from backend.web.background import Background
from labeling.settings import Settings
from labeling.store import Store
from worker.queue.connection import Connection
from worker.queue.metrics import Metrics

_THREADS_KEPT_FREE = 2  # so that /health is answered while others wait for masks


class WaitingRoom:
    """Places for requests that wait for a mask, each of which holds one of the server's threads."""

    def __init__(self, threads: int) -> None:
        self._places = threading.Semaphore(max(threads - _THREADS_KEPT_FREE, 0))

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Whether there was a place; it is kept until the end of the `with` block."""
        admitted = self._places.acquire(blocking=False)
        try:
            yield admitted
        finally:
            if admitted:
                self._places.release()


@dataclass(frozen=True)
class Services:
    """The parts of the web process. All of them may be used by all of its threads.

    `store_identity`: the store's own name. `reported_models` is the model behind what /setup reported last, by
    project number.
    """

    settings: Settings
    store: Store
    connection: "Connection"
    background: Background
    waiting_room: WaitingRoom
    store_identity: str = ""
    reported_models: dict[int, str] = field(default_factory=dict)

    @cached_property
    def counters(self) -> Metrics:
        """Where to count what happens; never on a request's own thread."""
        return Metrics.of(self.settings)
