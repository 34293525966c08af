"""Is this host's process of one role at work? What a container's health check asks: quick, and without a password."""

import socket
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from labeling.settings import Settings
from worker.errors import QueueUnreachable
from worker.queue.connection import connect
from worker.queue.heartbeats import SCHEDULER, SWEEPER, is_alive
from worker.queue.queues import WORKED_BY, live_workers

BACKEND = "backend"
QUEUES = {process: queue for queue, process in WORKED_BY.items()}
ROLES = (BACKEND, *QUEUES, SWEEPER, SCHEDULER)

_TIMEOUT_S = 3.0


def find_fault(settings: Settings, role: str) -> str | None:
    """What keeps the process of `role` on this host from working, in a sentence; None if it is at work."""
    if role == BACKEND:
        return _backend_fault(settings)
    host = socket.gethostname()
    try:
        connection = connect(settings)
        works = (
            live_workers(connection, QUEUES[role], host=host) > 0
            if role in QUEUES
            else is_alive(connection, role, host=host)
        )
    except QueueUnreachable as error:
        return f"The {role} would show by Redis that it is at work. {error}"
    return None if works else f"No {role} of this host ({host}) gave a sign of life in the last minutes."


def _backend_fault(settings: Settings) -> str | None:
    url = f"{settings.local_backend_url}/ready"
    try:
        with urlopen(url, timeout=_TIMEOUT_S):
            return None
    except HTTPError as error:
        return f"{url} answers {error.code}: {error.read(1000).decode(errors='replace').strip()}"
    except (URLError, OSError) as error:
        return f"{url} does not answer: {error}"
