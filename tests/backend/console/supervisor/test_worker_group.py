"""Several workers on one host, and workers of two hosts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from rq import worker_registration

from backend.console.supervisor.worker_group import worker_environment
from labeling.settings import Settings, environment_of
from labeling.store import Store
from tests.worker.conftest import RedisServer, Want, is_alive, wait_until
from worker.queue.connection import redis_socket
from worker.queue.queues import GPU, enqueue_prediction, open_queue


def test_gpus_are_dealt_out_and_cores_are_shared(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    gpus = settings.model_copy(update={"workers": 3, "devices": "0, 2", "device": "cuda"})
    assert [worker_environment(gpus, number)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == ["0", "2", "0"]
    assert worker_environment(gpus, 0)["WORKERS"] == "1" and not worker_environment(gpus, 0)["DEVICES"]
    cpus = settings.model_copy(update={"workers": 3})
    assert worker_environment(cpus, 0)["OMP_NUM_THREADS"] == "2"
    assert worker_environment(cpus, 0)["OMP_WAIT_POLICY"] == "PASSIVE"


def test_a_group_runs_its_workers_and_takes_them_along(
    settings: Settings, redis_server: RedisServer, redis_connection: Redis, store: Store, want: Want
) -> None:
    chosen = settings.model_copy(update={"workers": 2, "model_loader": "tests.worker.segmenters:threshold"})
    environment = {**os.environ, **environment_of(chosen), "PYTHONPATH": str(Path(__file__).parents[4])}
    run_group = (
        "import sys; from labeling.settings import Settings; "
        "from backend.console.supervisor.worker_group import run_group"
    )
    group = subprocess.Popen([sys.executable, "-c", f"{run_group}; sys.exit(run_group(Settings()))"], env=environment)
    try:
        queue = open_queue(redis_connection, GPU)
        wait_until(lambda: len(worker_registration.get_keys(queue=queue)) == 2, 120)
        rows = [want("slow", task_id=number) for number in range(4)]
        for row in rows:
            enqueue_prediction(redis_connection, row.id)
        wait_until(lambda: store.progress.counts().get("ready") == 4)
        children = Path(f"/proc/{group.pid}/task/{group.pid}/children").read_text().split()
        assert len(children) == 2
        group.send_signal(signal.SIGTERM)
        assert group.wait(60) == 0
        wait_until(lambda: not any(is_alive(int(pid)) for pid in children))
    finally:
        group.kill()
        group.wait()


def test_a_worker_of_another_host_needs_only_the_three_urls(
    settings: Settings, redis_server: RedisServer, redis_connection: Redis, store: Store, want: Want, tmp_path: Path
) -> None:
    elsewhere = Settings(
        data_dir=tmp_path / "elsewhere",
        redis_url=f"unix://{redis_socket(settings)}",
        database_url=settings.database_url,
        blob_url=settings.blob_url,
        label_studio_url=settings.label_studio_url,
        device="cpu",
    )
    code = (
        "from labeling.settings import Settings; from worker.gpu_worker.worker import run; "
        "run(Settings(), 'tests.worker.segmenters:threshold')"
    )
    environment = {**os.environ, **environment_of(elsewhere), "PYTHONPATH": str(Path(__file__).parents[4])}
    row = want()
    enqueue_prediction(redis_connection, row.id)
    worker = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        wait_until(lambda: store.predictions.get(row.id).status == "ready", 120)
        assert store.predictions.regions(row.id)[0].mask.sum() == 100
        assert not settings.image_cache.exists()
        assert elsewhere.image_cache.exists()
    finally:
        worker.kill()
        worker.wait()
