"""The log of a process: one line a message, on standard output."""

import logging
import sys

from labeling.settings import Settings

_TALKATIVE = ("alembic", "httpx")  # they report every connection and request


def configure_logs(settings: Settings, *, level: str | None = None) -> None:
    """Log from `level` on, by default that of the settings. A process calls it once, before it logs."""
    logging.basicConfig(
        level=level or settings.log_level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stdout
    )
    if settings.log_level != "DEBUG":
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
