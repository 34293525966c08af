"""The two queues and what travels in them: names of allowed functions and row ids, as JSON, never pixels.

The store is the truth and Redis is transport: a job that gets lost, or runs twice, costs time and nothing else.
"""

import time
import uuid
from collections.abc import Collection, Sequence
from typing import Any, cast

from redis.client import Pipeline
from rq import Queue, worker_registration
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import as_text

from worker.errors import QueueFull
from worker.queue.allow_listed_job import AllowListedJob
from worker.queue.connection import Connection, asking_redis

GPU = "gpu"
PUBLISH = "publish"
WORKED_BY = {GPU: "worker", PUBLISH: "publisher"}  # every queue, and the process (`argenseg ...`) that works it off

PREDICT = "predict"
TRY_PROMPTS = "try_prompts"
PUBLISH_PREDICTION = "publish"
PROCESS_EVENT = "process_event"

MAX_QUEUED_JOBS = 10_000
FRONT_RESERVE = 1_000  # places beyond that, for work that somebody waits for

JOB_TIMEOUT_S = 1800  # the last resort; images, model and HTTP have their own, shorter limits
RESULT_TTL_S = 300
FAILURE_TTL_S = 24 * 3600

_URGENT = "-now"  # the end of a job's id
_QUEUED_AT_A_TIME = 200
_REMOVED_AT_A_TIME = 500  # each is looked for along the queue, and Redis does nothing else meanwhile
_LONGEST_BLOCK_S = 1.0  # a cancelled job writes no result: look at its status at least this often
_TERMINAL = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED})


def open_queue(connection: "Connection", name: str, job_class: type[AllowListedJob] = AllowListedJob) -> Queue:
    """The queue `name` with our serializer, job class and time limit."""
    return Queue(
        name, connection=connection, job_class=job_class, serializer=JSONSerializer, default_timeout=JOB_TIMEOUT_S
    )


def enqueue_prediction(connection: "Connection", prediction_id: int, *, front: bool = False) -> AllowListedJob:
    """Ask the GPU worker for a prediction; `front` is for work that somebody waits for. QueueFull, QueueUnreachable."""
    return _enqueue(connection, GPU, PREDICT, prediction_id, front=front)


def enqueue_trial(connection: "Connection", trial_id: int) -> AllowListedJob:
    """Ask the GPU worker for a trial of prompts, before what nobody waits for. QueueFull, QueueUnreachable."""
    return _enqueue(connection, GPU, TRY_PROMPTS, trial_id, front=True)


def enqueue_publish(connection: "Connection", prediction_id: int) -> AllowListedJob:
    """Ask for a ready prediction to be sent to Label Studio. QueueFull when the queue is."""
    return _enqueue(connection, PUBLISH, PUBLISH_PREDICTION, prediction_id)


def enqueue_event(connection: "Connection", event_id: int) -> AllowListedJob:
    """Ask for a stored webhook event to be made into corrections. QueueFull when the queue is."""
    return _enqueue(connection, PUBLISH, PROCESS_EVENT, event_id)


@asking_redis()
def enqueue_rows(connection: "Connection", queue_name: str, function: str, row_ids: Sequence[int]) -> int:
    """Queue a job of `function` for each row, in order, as far as the queue has room; returns for how many.

    Some hundred in one question to Redis. QueueUnreachable; then those before are queued.
    """
    queue, queued = open_queue(connection, queue_name), 0
    while queued < len(row_ids):
        some = row_ids[queued : queued + min(_QUEUED_AT_A_TIME, MAX_QUEUED_JOBS - queue.count)]
        if not some:
            break
        with connection.pipeline(transaction=False) as pipeline:
            for row_id in some:
                _put_job(queue, function, row_id, pipeline)
            pipeline.execute()
        queued += len(some)
    return queued


@asking_redis()
def _enqueue(
    connection: "Connection", queue_name: str, function: str, row_id: int, *, front: bool = False
) -> AllowListedJob:
    queue = open_queue(connection, queue_name)
    waiting = queue.count
    if waiting >= MAX_QUEUED_JOBS + (FRONT_RESERVE if front else 0):
        raise QueueFull(
            f"The queue {queue_name!r} is full ({waiting} jobs); the task is queued again when it has room."
        )
    with connection.pipeline() as pipeline:
        job = _put_job(queue, function, row_id, pipeline, front=front)
        pipeline.execute()
    return job


def _put_job(queue: Queue, function: str, row_id: int, pipeline: Pipeline, *, front: bool = False) -> AllowListedJob:
    """Into a pipeline: by itself RQ asks Redis twice for each."""
    job = queue.enqueue_call(
        function,
        args=(row_id,),
        # The row id can be read back from the job id (see `live_rows`). A random part instead of `unique=True`: RQ
        # keeps a job's hash and its old results for minutes after its end, in the way of the same row's next run.
        job_id=f"{function}-{row_id}-{uuid.uuid4().hex[:8]}{_URGENT if front and function == PREDICT else ''}",
        at_front=front,
        result_ttl=RESULT_TTL_S,
        failure_ttl=FAILURE_TTL_S,
        pipeline=pipeline,
    )
    return cast(AllowListedJob, job)


def is_urgent(job_id: str) -> bool:
    """Whether the job was put at the front, because somebody waits for it."""
    return job_id.endswith(_URGENT)


def is_trial(job_id: str) -> bool:
    """Whether the job is a trial of prompts: it takes no place, and goes behind what is urgent."""
    return job_id.startswith(f"{TRY_PROMPTS}-")


@asking_redis()
def live_rows(connection: "Connection", queue_name: str, function: str) -> set[int]:
    """Ids of rows for which a job of `function` is queued, waits for its retry, or runs under an unexpired lease."""
    queue = open_queue(connection, queue_name)
    job_ids = [
        *queue.get_job_ids(),
        *queue.scheduled_job_registry.get_job_ids(cleanup=False),
        *_leased_jobs(queue),
    ]
    rows = (_row_of(job_id, function) for job_id in job_ids)
    return {row_id for row_id in rows if row_id is not None}


@asking_redis()
def take_turn(connection: "Connection", name: str, lasts_s: int, *, again: bool = False) -> bool:
    """Whether nobody else has the turn called `name`: then we do, until `end_turn`, or for so many seconds. `again`: we
    have it, and need it longer.
    """
    return bool(connection.set(_turn(name), 1, ex=lasts_s, nx=not again))


@asking_redis()
def end_turn(connection: "Connection", name: str) -> None:
    """The next one may."""
    connection.delete(_turn(name))


def _turn(name: str) -> str:
    return f"{RQ_KEY_PREFIX}:turn:{name}"


@asking_redis()
def remove_predictions(connection: "Connection", row_ids: Collection[int]) -> int:
    """Take the jobs of these rows out of the GPU queue, those that wait for a retry too; returns how many.

    What a worker has in its hands by now stays there: it finds in the store that there is nothing to do.
    """
    queue, rows = open_queue(connection, GPU), set(row_ids)
    retries = queue.scheduled_job_registry
    job_ids = [*queue.get_job_ids(), *retries.get_job_ids(cleanup=False)]
    job_ids = [job_id for job_id in job_ids if _row_of(job_id, PREDICT) in rows]
    count = 0
    for start in range(0, len(job_ids), _REMOVED_AT_A_TIME):
        some = job_ids[start : start + _REMOVED_AT_A_TIME]
        with connection.pipeline(transaction=False) as pipeline:
            for job_id in some:
                pipeline.lrem(queue.key, 1, job_id)
                pipeline.zrem(retries.key, job_id)
            answers = pipeline.execute()
        removed = [job_id for job_id, *was in zip(some, answers[::2], answers[1::2], strict=True) if any(was)]
        if removed:
            connection.delete(*map(AllowListedJob.key_for, removed))
        count += len(removed)
    return count


def _leased_jobs(queue: Queue) -> list[str]:
    started = queue.started_job_registry
    entries = queue.connection.zrangebyscore(started.key, time.time(), "+inf")
    return [str(started.parse_job_id(entry)) for entry in entries]


def _row_of(job_id: str, function: str) -> int | None:
    """The row that a job of `function` is about; None if it is another function's."""
    name, *rest = job_id.split("-")
    is_ours = name == function and len(rest) >= 2 and rest[0].isdecimal()
    return int(rest[0]) if is_ours else None


@asking_redis()
def queued_jobs(connection: "Connection", queue_name: str) -> int:
    """How many jobs wait in a queue. QueueUnreachable."""
    return int(open_queue(connection, queue_name).count)


@asking_redis()
def jobs_at_hand(connection: "Connection", queue_name: str) -> list[str]:
    """Ids of the job at the front of a queue, if one waits, and of those that run under an unexpired lease.
    QueueUnreachable.
    """
    queue = open_queue(connection, queue_name)
    return [*queue.get_job_ids(0, 1), *_leased_jobs(queue)]


@asking_redis()
def live_workers(connection: "Connection", queue_name: str, *, host: str | None = None) -> int:
    """How many workers of a queue, on `host` or anywhere, gave a sign of life within the last minute.

    QueueUnreachable if Redis does not answer.
    """
    keys = worker_registration.get_keys(queue=open_queue(connection, queue_name))
    if host is not None:  # which is part of a worker's name, see LeasedWorker
        keys = {key for key in keys if as_text(key).rpartition("-")[0].endswith(f":{queue_name}-{host}")}
    return int(connection.exists(*keys)) if keys else 0


@asking_redis()
def requeue_due_retries(connection: "Connection", queue_name: str) -> int:
    """Move the jobs whose retry is due back into their queue. Any number of processes may do so at the same time.

    This is RQ's scheduler without its process: that one is forked and outlives a killed worker.
    """
    registry = open_queue(connection, queue_name).scheduled_job_registry
    moved = 0
    for job_id in registry.get_jobs_to_schedule():
        try:
            registry.requeue(job_id)
            moved += 1
        except InvalidJobOperation:  # another process was first
            continue
        except NoSuchJobError:
            registry.remove(job_id)
    return moved


@asking_redis()
def wait_for_job(job: Job, timeout_s: float) -> bool:
    """Wait up to `timeout_s` for the job's end. True if it finished, False if it failed, was stopped, or time ran out.

    A job that is retried is waited for on. The waiter is woken by the result, within about a millisecond.
    """
    deadline = time.monotonic() + timeout_s
    results = f"{RQ_KEY_PREFIX}:results:{job.id}"
    last_seen = "0-0"
    while True:
        try:
            status = job.get_status()
        except InvalidJobOperation:  # its hash is gone
            return False
        if status in _TERMINAL:
            return bool(status == JobStatus.FINISHED)
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        block_ms = max(1, int(min(remaining, _LONGEST_BLOCK_S) * 1000))
        entries: Any = job.connection.xread({results: last_seen}, block=block_ms)
        if entries:
            last_seen = entries[0][1][-1][0]
