import json
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from labeling.settings import Settings
from worker.errors import QueueFull, QueueUnreachable, WorkerError
from worker.queue import queues
from worker.queue.allow_listed_job import AllowListedJob
from worker.queue.connection import connect, redis_socket
from worker.queue.leased_worker import LeasedWorker
from worker.queue.queues import (
    GPU,
    PREDICT,
    PUBLISH,
    PUBLISH_PREDICTION,
    enqueue_prediction,
    enqueue_publish,
    live_rows,
    open_queue,
    remove_predictions,
    requeue_due_retries,
    wait_for_job,
)
from worker.queue.retries import RetryLater


def test_a_job_holds_a_name_and_a_row_id_as_json(redis_connection: Redis) -> None:
    job = enqueue_prediction(redis_connection, 17)
    assert json.loads(zlib.decompress(redis_connection.hget(job.key, "data"))) == [PREDICT, None, [17], {}]


def test_work_that_somebody_waits_for_goes_to_the_front(redis_connection: Redis) -> None:
    first, second = enqueue_prediction(redis_connection, 1), enqueue_prediction(redis_connection, 2, front=True)
    assert open_queue(redis_connection, GPU).job_ids == [second.id, first.id]


def test_a_full_queue_refuses_and_keeps_a_reserve_for_the_front(
    redis_connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "MAX_QUEUED_JOBS", 1)
    monkeypatch.setattr(queues, "FRONT_RESERVE", 1)
    enqueue_prediction(redis_connection, 1)
    with pytest.raises(QueueFull, match="gpu"):
        enqueue_prediction(redis_connection, 2)
    enqueue_prediction(redis_connection, 3, front=True)
    with pytest.raises(QueueFull):
        enqueue_prediction(redis_connection, 4, front=True)


def test_the_connection_is_a_url_or_the_embedded_socket(settings: Settings) -> None:
    assert connect(settings).connection_pool.connection_kwargs["path"] == str(redis_socket(settings))
    elsewhere = settings.model_copy(update={"redis_url": "redis://queue.example:6380/2"})
    found = connect(elsewhere).connection_pool.connection_kwargs
    assert (found["host"], found["port"], found["db"]) == ("queue.example", 6380, 2)


def test_a_socket_path_that_is_too_long_becomes_short(settings: Settings) -> None:
    deep = settings.model_copy(update={"data_dir": Path("/data", *["folder"] * 30)})
    assert len(str(redis_socket(deep))) < 80
    assert redis_socket(deep) != redis_socket(settings.model_copy(update={"data_dir": Path("/data", *["other"] * 30)}))


def test_without_redis_an_enqueue_fails_at_once(settings: Settings) -> None:
    began = time.monotonic()
    with pytest.raises(QueueUnreachable, match="Start argenseg up"):
        enqueue_prediction(connect(settings), 1)
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("poison", ["function", "callback", "method"])
def test_a_job_from_a_stranger_runs_nothing(redis_connection: Redis, tmp_path: Path, poison: str) -> None:
    mark, ran = tmp_path / "ran", []
    job = enqueue_prediction(redis_connection, 1)
    if poison == "function":
        job.data = JSONSerializer.dumps(["os.mkdir", None, [str(mark)], {}])
    elif poison == "method":
        job.data = JSONSerializer.dumps(["format", "{0.__class__}", [1], {}])
    else:
        job._success_callback_name = job._failure_callback_name = job._stopped_callback_name = "os.mkdir"
    job.save()
    worker = LeasedWorker(GPU, redis_connection, {PREDICT: ran.append})
    worker.work(burst=True)
    assert not mark.exists()
    assert job.get_status() == (JobStatus.FINISHED if poison == "callback" else JobStatus.FAILED)
    assert ran == ([1] if poison == "callback" else [])


def test_a_job_that_an_older_version_queued_is_run(redis_connection: Redis) -> None:
    """It names a module of then."""
    ran: list[int] = []
    job = enqueue_prediction(redis_connection, 3)
    job.data = JSONSerializer.dumps(["worker.jobs.predict", None, [3], {}])
    job.save()
    LeasedWorker(GPU, redis_connection, {PREDICT: ran.append}).work(burst=True)
    assert ran == [3] and job.get_status() == JobStatus.FINISHED


def test_retries_that_are_used_up_fail_the_job(redis_connection: Redis) -> None:
    ran: list[int] = []

    def fails(row_id: int) -> RetryLater:
        ran.append(row_id)
        return RetryLater((0, 0))

    job = enqueue_prediction(redis_connection, 1)
    LeasedWorker(GPU, redis_connection, {PREDICT: fails}).work(burst=True)
    assert len(ran) == 3 and job.get_status() == JobStatus.FAILED


def test_an_abandoned_job_from_a_stranger_runs_no_callback(redis_connection: Redis) -> None:
    job = enqueue_prediction(redis_connection, 1)
    job._failure_callback_name = "sys.exit"
    job.set_status(JobStatus.STARTED)
    job.save()
    queue = open_queue(redis_connection, GPU)
    redis_connection.zadd(queue.started_job_registry.key, {f"{job.id}:execution": 1.0})
    LeasedWorker(GPU, redis_connection, {}).clean_registries()
    assert job.get_status() == JobStatus.FAILED


def test_a_waiter_wakes_when_the_job_ends(redis_connection: Redis) -> None:
    job = enqueue_prediction(redis_connection, 1)
    ended: list[float] = []
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: (wait_for_job(job, 10.0), time.monotonic()))
        time.sleep(0.2)
        LeasedWorker(GPU, redis_connection, {PREDICT: lambda _: ended.append(time.monotonic())}).work(burst=True)
        finished, woken = waiting.result()
    assert finished is True
    assert woken - ended[0] < 0.5
    assert wait_for_job(job, 0.0) is True


def test_a_waiter_gives_up_in_time(redis_connection: Redis) -> None:
    job = enqueue_prediction(redis_connection, 1)
    began = time.monotonic()
    assert wait_for_job(job, 0.25) is False
    assert 0.2 < time.monotonic() - began < 0.6


def test_a_waiter_sees_that_its_job_was_cancelled_or_deleted(redis_connection: Redis) -> None:
    cancelled, deleted = enqueue_prediction(redis_connection, 1), enqueue_prediction(redis_connection, 2)
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(wait_for_job, job, 10.0) for job in (cancelled, deleted)]
        time.sleep(0.1)
        cancelled.cancel()
        deleted.delete()
        assert [each.result(timeout=2.0) for each in waiting] == [False, False]


def test_a_waiter_waits_on_while_the_job_is_retried(redis_connection: Redis) -> None:
    runs: list[int] = []

    def fails_twice(row_id: int) -> str | RetryLater:
        runs.append(row_id)
        return "done" if len(runs) == 3 else RetryLater((0, 0, 0))

    job = enqueue_prediction(redis_connection, 1)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(wait_for_job, job, 10.0)
        LeasedWorker(GPU, redis_connection, {PREDICT: fails_twice}).work(burst=True)
        assert waiting.result() is True
    assert len(runs) == 3


def test_due_retries_go_back_once_however_many_look(redis_connection: Redis) -> None:
    job = enqueue_publish(redis_connection, 1)
    LeasedWorker(PUBLISH, redis_connection, {PUBLISH_PREDICTION: lambda _: RetryLater((60,) * 3)}).work(burst=True)
    queue = open_queue(redis_connection, PUBLISH)
    assert job.get_status() == JobStatus.SCHEDULED
    assert requeue_due_retries(redis_connection, PUBLISH) == 0
    assert live_rows(redis_connection, PUBLISH, PUBLISH_PREDICTION) == {1}
    redis_connection.zadd(queue.scheduled_job_registry.key, {job.id: 1.0})
    with ThreadPoolExecutor() as pool:
        moved = list(pool.map(lambda _: requeue_due_retries(redis_connection, PUBLISH), range(4)))
    assert sum(moved) == 1
    assert queue.job_ids == [job.id]
    assert queue.fetch_job(job.id).number_of_retries == 1
    redis_connection.zadd(queue.scheduled_job_registry.key, {"publish-9-gone": 1.0})
    assert requeue_due_retries(redis_connection, PUBLISH) == 0
    assert "publish-9-gone" not in queue.scheduled_job_registry


def test_live_rows_are_queued_or_running_under_a_lease(redis_connection: Redis) -> None:
    seen: list[set[int]] = []
    enqueue_prediction(redis_connection, 7)
    enqueue_publish(redis_connection, 8)
    functions = {PREDICT: lambda _: seen.append(live_rows(redis_connection, GPU, PREDICT))}
    assert live_rows(redis_connection, GPU, PREDICT) == {7}
    LeasedWorker(GPU, redis_connection, functions).work(burst=True)
    assert seen == [{7}]
    assert live_rows(redis_connection, GPU, PREDICT) == set()
    lost = enqueue_prediction(redis_connection, 9)
    queue = open_queue(redis_connection, GPU)
    queue.remove(lost)
    redis_connection.zadd(queue.started_job_registry.key, {f"{lost.id}:execution": time.time() - 1})
    assert live_rows(redis_connection, GPU, PREDICT) == set()


def test_the_jobs_of_some_rows_are_taken_out(redis_connection: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "_REMOVED_AT_A_TIME", 2)
    others = [enqueue_prediction(redis_connection, row) for row in (11, 112)]
    gone = [enqueue_prediction(redis_connection, row, front=row == 3) for row in (1, 2, 3)]
    retried = enqueue_prediction(redis_connection, 4)
    queue = open_queue(redis_connection, GPU)
    queue.remove(retried)
    queue.scheduled_job_registry.schedule(retried, datetime.now(UTC) + timedelta(hours=1))
    enqueue_publish(redis_connection, 1)
    assert remove_predictions(redis_connection, [1, 2, 3, 4, 5]) == 4
    assert queue.job_ids == [job.id for job in others]
    assert queue.scheduled_job_registry.count == 0
    assert not any(redis_connection.exists(job.key) for job in (*gone, retried))
    assert open_queue(redis_connection, PUBLISH).count == 1
    assert remove_predictions(redis_connection, [1]) == 0


def test_a_lease_is_short_and_renewed(redis_connection: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LeasedWorker, "lease_s", 2)
    leases: list[float] = []

    def slow(_: int) -> None:
        for seconds in (0, 2.2):
            time.sleep(seconds)
            registry = open_queue(redis_connection, GPU).started_job_registry
            [(_, expiry)] = redis_connection.zrange(registry.key, 0, -1, withscores=True)
            leases.append(expiry - time.time())

    enqueue_prediction(redis_connection, 1)
    LeasedWorker(GPU, redis_connection, {PREDICT: slow}).work(burst=True)
    assert len(leases) == 2
    assert all(0 < lease <= 2 for lease in leases)


def test_a_worker_without_redis_says_so(settings: Settings) -> None:
    with pytest.raises(WorkerError, match="Redis cannot be used"):
        LeasedWorker(GPU, connect(settings), {})


def test_jobs_know_no_function_of_their_own(redis_connection: Redis) -> None:
    assert AllowListedJob.functions == {}
    assert AllowListedJob.bound_to({PREDICT: print}).functions == {PREDICT: print}
