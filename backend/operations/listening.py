"""The socket that the backend listens on: opened by whoever starts it, so that it can outlive one backend process.

While a killed backend is started again its supervisor still holds the socket, and connections wait in it.
"""

import os
import socket

from labeling.settings import Settings
from worker.errors import SupervisorError

INHERITED = "ARGENSEG_LISTEN_FD"  # names the descriptor to a child; no setting of people
BACKLOG = 1024


def open_socket(settings: Settings) -> socket.socket:
    """Listen at the settings' host and port. SupervisorError says what to change where that is not possible."""
    is_ipv6 = ":" in settings.host
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    try:
        return socket.create_server(
            (settings.host, settings.port),
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=settings.host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        reason = error.strerror or error
        raise SupervisorError(
            f"The backend cannot listen at {settings.host}:{settings.port} ({reason}). "
            "Stop what runs there, or choose another address by --host and --port (HOST, PORT)."
        ) from None


def inherited_socket() -> socket.socket | None:
    """The socket that our supervisor opened and passed on; None if it did not."""
    descriptor = os.environ.get(INHERITED)
    return socket.socket(fileno=int(descriptor)) if descriptor else None
