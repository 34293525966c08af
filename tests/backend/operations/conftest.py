"""The fixtures of the floor below."""

from tests.worker.conftest import redis_connection, redis_server, settings, store, want

__all__ = ["redis_connection", "redis_server", "settings", "store", "want"]
