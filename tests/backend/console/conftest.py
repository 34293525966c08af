"""The fixtures of the floor below, and of the operations that commands call."""

from tests.argenseg_model.conftest import byte_bpe, small
from tests.backend.operations.projects.conftest import connected, label_studio, project
from tests.worker.conftest import (
    context,
    fresh_database,
    open_context,
    redis_connection,
    redis_server,
    settings,
    start_process,
    store,
    want,
)

__all__ = [
    "byte_bpe",
    "connected",
    "context",
    "fresh_database",
    "label_studio",
    "open_context",
    "project",
    "redis_connection",
    "redis_server",
    "settings",
    "small",
    "start_process",
    "store",
    "want",
]
