"""The GPU worker as a process of its own, with a real Redis, a real store and a model process that can go wrong."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from rq import worker_registration
from rq.command import send_stop_job_command
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from labeling.store import PredictionRequest, Store
from tests.worker.conftest import RedisServer, Want, wait_until
from worker.context import JobContext
from worker.queue.queues import GPU, enqueue_prediction, open_queue, wait_for_job
from worker.queue.worker_list import list_workers
from worker.sweeper import sweep

LEASE_S = 2

StartWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start_worker(start_process: StartWorker, redis_connection: Redis) -> StartWorker:
    """Start a GPU worker with a short lease and wait until its model is warm."""

    def start(loader: str = "threshold", *, wait: bool = True, slow_task: int = -1) -> "subprocess.Popen[bytes]":
        code = f"""
import logging, sys, time
from labeling.settings import Settings
from worker.gpu_worker import predictor
fetch_image = predictor.fetch_image
def fetch_slowly(*args, task_id, **options):
    time.sleep(6 if task_id == {slow_task} else 0)
    return fetch_image(*args, task_id=task_id, **options)
predictor.fetch_image = fetch_slowly
from worker.gpu_worker.worker import GpuWorker, run
logging.basicConfig(level="INFO")
GpuWorker.lease_s = {LEASE_S}
sys.exit(run(Settings(model_loader="tests.worker.segmenters:{loader}")))
"""
        registered = workers(redis_connection)
        process = start_process(code)
        if wait:
            wait_until(lambda: workers(redis_connection) - registered, 120)
        return process

    return start


def workers(connection: Redis) -> set[str]:
    return worker_registration.get_keys(queue=open_queue(connection, GPU))


def libraries_of(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def test_a_worker_tells_its_model_and_what_it_did_last(
    start_worker: StartWorker, redis_connection: Redis, want: Want
) -> None:
    start_worker()
    (idle,) = list_workers(redis_connection, GPU)
    assert idle.model and idle.device == "cpu" and idle.last_row is None
    row = want("bright")
    assert wait_for_job(enqueue_prediction(redis_connection, row.id), 120)
    wait_until(lambda: list_workers(redis_connection, GPU)[0].last_row == row.id)


def test_a_worker_outlives_every_crash_and_stop_of_its_model(
    start_worker: StartWorker, redis_connection: Redis, store: Store, want: Want, context: JobContext
) -> None:
    process = start_worker()
    prompts = ["bright", "crash", "bright", "crash once", "hang", "bug", "bright"]
    rows = [want(prompt, task_id=number) for number, prompt in enumerate(prompts)]
    jobs = [enqueue_prediction(redis_connection, row.id) for row in rows]
    assert all(wait_for_job(job, 120) for job in jobs)
    ended = [store.predictions.get(row.id) for row in rows]
    assert [row.status for row in ended] == ["ready", "failed", "ready", "ready", "failed", "failed", "ready"]
    attempts = [row.attempts for row in ended]
    assert attempts.pop(3) in (1, 2)  # after a crash in a batch it is asked again, alone, in the same attempt
    assert attempts == [1, 3, 1, 1, 3, 1]
    assert "SIGSEGV" in (ended[1].error or "")
    assert "1.5 s" in (ended[4].error or "")
    assert "RuntimeError" in (ended[5].error or "")
    assert "libtorch" not in libraries_of(process.pid)
    stopped, after = want("hang", task_id=20), want(task_id=21)
    job = enqueue_prediction(redis_connection, stopped.id)
    wait_until(lambda: store.predictions.get(stopped.id).attempts == 1)
    send_stop_job_command(redis_connection, job.id, serializer=JSONSerializer)
    assert wait_for_job(job, 30) is False
    assert job.get_status() == JobStatus.STOPPED
    assert store.predictions.get(stopped.id).status == "failed"
    assert wait_for_job(enqueue_prediction(redis_connection, after.id), 60)
    sweep(context, stale_s=0)
    assert store.predictions.get(stopped.id).status == "failed"
    assert process.poll() is None
    check_warm_stop(process, redis_connection, store, [want("slow", task_id=number) for number in range(30, 60)])


def check_warm_stop(
    process: "subprocess.Popen[bytes]", connection: Redis, store: Store, rows: list[PredictionRequest]
) -> None:
    """Told to stop, a worker ends what it computes, leaves the rest as it was, and signs off."""
    for row in rows:
        enqueue_prediction(connection, row.id)
    wait_until(lambda: store.predictions.get(rows[0].id).attempts == 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    ended = [store.predictions.get(row.id).status for row in rows]
    assert (ended[0], ended[-1], set(ended)) == ("ready", "requested", {"ready", "requested"})
    assert workers(connection) == set()


def test_a_killed_worker_loses_nothing_and_its_job_is_done_once(
    start_worker: StartWorker, redis_connection: Redis, store: Store, want: Want, context: JobContext
) -> None:
    process = start_worker()
    row = want("slow")
    enqueue_prediction(redis_connection, row.id)
    wait_until(lambda: store.predictions.get(row.id).attempts == 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sweep(context, stale_s=0) == 0  # its lease still runs
    wait_until(lambda: sweep(context, stale_s=0) == 1, 2 * LEASE_S)
    assert sweep(context, stale_s=0) == 0  # it is queued now
    start_worker()
    wait_until(lambda: store.predictions.get(row.id).status == "ready")
    assert store.predictions.get(row.id).attempts == 2
    assert len(store.predictions.regions(row.id)) == 1
    assert sweep(context, stale_s=60) == 0


def test_a_redis_that_is_killed_and_started_again_keeps_the_queue(
    start_worker: StartWorker, redis_server: RedisServer, redis_connection: Redis, store: Store, want: Want
) -> None:
    rows = [want(task_id=number) for number in range(20)]
    for row in rows:
        enqueue_prediction(redis_connection, row.id)
    redis_server.kill()
    with pytest.raises(RedisError):
        redis_connection.ping()
    redis_server.start()
    process = start_worker()
    wait_until(lambda: store.progress.counts().get("ready") == 20)
    redis_server.kill()
    redis_server.start()
    row = want(task_id=100)
    assert wait_for_job(enqueue_prediction(redis_connection, row.id), 60)
    assert process.poll() is None


def test_work_that_somebody_waits_for_goes_before_a_long_queue(
    start_worker: StartWorker, redis_connection: Redis, store: Store, want: Want
) -> None:
    start_worker("paced")
    rows = [want(task_id=number) for number in range(80)]
    for row in rows:
        enqueue_prediction(redis_connection, row.id)
    wait_until(lambda: store.progress.counts().get("ready", 0) >= 10)
    urgent = want(task_id=100, delivery="sync", interactive=True)
    in_queue = want(task_id=79, delivery="sync")  # somebody opens a task that is queued already
    jobs = [enqueue_prediction(redis_connection, row.id, front=True) for row in (urgent, in_queue)]
    assert all(wait_for_job(job, 60) for job in jobs)
    assert {store.predictions.get(row.id).status for row in (urgent, in_queue)} == {"ready"}
    assert store.progress.counts()["requested"] > 10
    wait_until(lambda: store.progress.counts() == {"ready": 81})
    assert [store.predictions.get(row.id).attempts for row in (*rows, urgent)] == [1] * 81


def test_a_slow_image_of_an_opened_task_holds_no_other_task_up(
    start_worker: StartWorker, redis_connection: Redis, store: Store, want: Want
) -> None:
    start_worker(slow_task=0)
    slow = [want(prompt, task_id=0, delivery="sync", interactive=True) for prompt in ("cell", "nucleus", "vessel")]
    opened, queued = want(task_id=1, delivery="sync", interactive=True), [want(task_id=n) for n in range(2, 6)]
    for row in slow:
        enqueue_prediction(redis_connection, row.id, front=True)
    wait_until(lambda: all(store.predictions.get(row.id).attempts == 1 for row in slow))
    for row in queued:
        enqueue_prediction(redis_connection, row.id)
    assert wait_for_job(enqueue_prediction(redis_connection, opened.id, front=True), 60)
    wait_until(lambda: store.progress.counts().get("ready") == 5)
    assert {store.predictions.get(row.id).status for row in slow} == {"requested"}
    wait_until(lambda: store.progress.counts() == {"ready": 8})


def test_a_worker_without_a_model_ends_for_good(start_worker: StartWorker) -> None:
    assert start_worker("missing", wait=False).wait(120) == os.EX_CONFIG
