"""The workers of a queue, as they describe themselves in Redis."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rq import worker_registration
from rq.utils import as_text, utcparse

from worker.queue.connection import Connection, asking_redis
from worker.queue.queues import open_queue

MODEL, DEVICE, LAST_ROW, LAST_AT = "argenseg_model", "argenseg_device", "argenseg_last_row", "argenseg_last_at"
"""Fields of a worker's hash that are ours, beside RQ's."""


@dataclass(frozen=True)
class WorkerSeen:
    """A worker that gave a sign of life in the last minutes.

    `busy_share` is the share of its life in which it had a job, None in its first seconds. `last_row` is what it ended
    last. What a worker does not say is None.
    """

    host: str
    pid: int | None
    is_busy: bool
    since: datetime | None
    jobs: int
    failed: int
    busy_share: float | None
    model: str | None
    device: str | None
    last_row: int | None
    last_at: datetime | None


@asking_redis()
def list_workers(connection: "Connection", queue_name: str) -> list[WorkerSeen]:
    """All of a queue, by host and age. QueueUnreachable if Redis does not answer."""
    keys = sorted(map(as_text, worker_registration.get_keys(queue=open_queue(connection, queue_name))))
    with connection.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.hgetall(key)
        hashes = pipeline.execute()
    found = [_seen({as_text(name): as_text(value) for name, value in fields.items()}) for fields in hashes if fields]
    return sorted(found, key=lambda worker: (worker.host, worker.since or datetime.max.replace(tzinfo=UTC)))


def note_end(connection: "Connection", key: str, row_id: int) -> None:
    """Say that the worker of this key ended a row just now."""
    connection.hset(key, mapping={LAST_ROW: row_id, LAST_AT: datetime.now(UTC).isoformat()})


def _seen(fields: Mapping[str, str]) -> WorkerSeen:
    since = utcparse(fields["birth"]) if fields.get("birth") else None
    since = since if since is None or since.tzinfo else since.replace(tzinfo=UTC)
    age_s = (datetime.now(UTC) - since).total_seconds() if since else 0.0
    busy_s = float(fields.get("total_working_time") or 0)
    last_at = fields.get(LAST_AT)
    return WorkerSeen(
        host=fields.get("hostname") or "?",
        pid=int(fields["pid"]) if fields.get("pid", "").isdecimal() else None,
        is_busy=fields.get("state") == "busy",
        since=since,
        jobs=int(fields.get("successful_job_count") or 0),
        failed=int(fields.get("failed_job_count") or 0),
        busy_share=min(1.0, busy_s / age_s) if age_s > 5 else None,
        model=fields.get(MODEL),
        device=fields.get(DEVICE),
        last_row=int(fields[LAST_ROW]) if fields.get(LAST_ROW, "").isdecimal() else None,
        last_at=datetime.fromisoformat(last_at) if last_at else None,
    )
