"""Workers, as pages list them, out of what they say in Redis."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from labeling.settings import Settings
from worker.errors import QueueUnreachable
from worker.queue.connection import connect
from worker.queue.queues import GPU, PUBLISH
from worker.queue.worker_list import DEVICE, MODEL, list_workers, note_end


def register(connection: Redis, name: str, **fields: object) -> str:
    key = f"rq:worker:{name}"
    if fields:
        connection.hset(key, mapping=fields)  # type: ignore[arg-type]
    connection.sadd(f"rq:workers:{GPU}", key)
    return key


def test_what_a_worker_says_of_itself_is_listed(redis_connection: Redis) -> None:
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    said = {"hostname": "lab-7", "pid": 7, "state": "busy", "birth": hour_ago, "total_working_time": 900}
    key = register(redis_connection, "one", **said, successful_job_count=12, **{MODEL: "starter-2", DEVICE: "cuda:0"})
    note_end(redis_connection, key, 41)
    (worker,) = list_workers(redis_connection, GPU)
    assert (worker.host, worker.pid, worker.is_busy, worker.jobs, worker.last_row) == ("lab-7", 7, True, 12, 41)
    assert (worker.model, worker.device) == ("starter-2", "cuda:0")
    assert worker.busy_share is not None and abs(worker.busy_share - 0.25) < 0.01
    assert worker.last_at is not None and datetime.now(UTC) - worker.last_at < timedelta(minutes=1)
    assert list_workers(redis_connection, PUBLISH) == []


def test_who_says_little_is_listed_and_who_is_gone_is_not(redis_connection: Redis) -> None:
    register(redis_connection, "gone")
    register(redis_connection, "quiet", hostname="lab-8")
    (worker,) = list_workers(redis_connection, GPU)
    assert (worker.host, worker.is_busy, worker.model, worker.busy_share, worker.last_at) == (
        "lab-8", False, None, None, None,
    )  # fmt: skip


def test_a_redis_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(QueueUnreachable):
        list_workers(connect(Settings(redis_url=f"unix://{tmp_path / 'nobody.sock'}")), GPU)
