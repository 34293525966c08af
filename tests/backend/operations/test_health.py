"""Health of one role on one host, by what its process leaves in Redis."""

import pytest
from redis import Redis

from backend.operations import health
from labeling.settings import Settings
from worker.queue.heartbeats import beat
from worker.queue.leased_worker import LeasedWorker


@pytest.mark.parametrize("role", ["worker", "publisher", "sweeper", "scheduler"])
def test_a_role_is_healthy_where_its_process_runs(
    settings: Settings, redis_connection: "Redis", role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "gave a sign of life" in str(health.find_fault(settings, role))
    if role in health.QUEUES:
        LeasedWorker(health.QUEUES[role], redis_connection, {}).register_birth()
    else:
        beat(redis_connection, role)
    assert health.find_fault(settings, role) is None
    monkeypatch.setattr(health.socket, "gethostname", lambda: "another-host")
    assert "No" in str(health.find_fault(settings, role))
