"""The machine's bad moments: no room, no memory, a process that stands still, a database that goes and comes back."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import update

from labeling.settings import Settings, environment_of
from labeling.store import Store
from labeling.store.base import utc_now
from labeling.store.predictions.tables import PredictionRow
from tests.conftest import cannot_run
from tests.worker.conftest import RedisServer, Want, bright_square, label_config, wait_until
from tests.worker.publishing.test_publisher import LabelStudio, label_studio, make_ready  # noqa: F401 (a fixture)
from tests.worker.test_faults import BACKEND, PUBLISHER, SWEEPER, WORKER, Start, answers, free_port
from worker.queue.queues import enqueue_prediction, enqueue_publish


@pytest.fixture
def settings(settings: Settings, label_studio: LabelStudio) -> Settings:  # noqa: F811
    options = {"label_studio_url": label_studio.url, "label_studio_api_key": "token", "port": free_port()}
    return Settings(data_dir=settings.data_dir, segment_timeout_s=30, device="cpu", **options)


def ask(port: int, path: str, body: object | None = None) -> tuple[int, Any]:
    """Status and JSON of an answer of the backend."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        cannot_run("Only root can mount a small disk.")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.faults
def test_a_full_disk_loses_nothing_that_was_answered(settings: Settings, small_disk: Path, tmp_path: Path) -> None:
    ours = settings.model_copy(
        update={"data_dir": small_disk, "database_url": f"sqlite:///{small_disk}/a.db", "blob_url": f"{small_disk}/b"}
    )
    log = tmp_path / "backend.log"
    command = [sys.executable, "-c", BACKEND_WITH_LOG]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | environment_of(ours), stdout=output, stderr=output)
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 5}, "annotation": {"id": 1, "text": "x" * 1000}}
    try:
        wait_until(lambda: answers(ours.port), 120)
        assert ask(ours.port, "/webhook", event)[0] == 201
        with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
            while True:
                filler.write(b"x" * 4096)
        statuses = Counter(ask(ours.port, "/webhook", event)[0] for _ in range(300))
        kept = statuses[201]
        assert statuses[503] + kept == 300 and statuses[503] > 0, "what is answered with 201 was kept"
        status, health = ask(ours.port, "/health")
        assert (status, health["status"]) == (200, "UP"), "Label Studio goes on asking"
        status, ready = ask(ours.port, "/ready")
        assert status == 503 and "REFUSED" in ready["corrections"]
        lines = log.read_text().count("\n")
        assert lines < 150, f"{lines} lines in the log for 300 refusals"
        (small_disk / "filler").unlink()
        wait_until(lambda: ask(ours.port, "/webhook", event)[0] == 201)
        assert ask(ours.port, "/ready")[1]["corrections"] == "kept"
    finally:
        process.kill()
        process.wait()
    with Store.open(ours.database_url, ours.blob_url) as store:
        spooled = len(list((small_disk / "spool").glob("*.json")))
        assert store.events.count_unprocessed(-1.0) + spooled >= 2 + kept


BACKEND_WITH_LOG = """
from backend.web.server import serve
from labeling.logs import configure_logs
from labeling.settings import Settings
configure_logs(Settings())
serve(Settings())
"""


@pytest.mark.faults
def test_a_redis_that_is_full_is_waited_for(
    settings: Settings,
    redis_connection: Redis,
    store: Store,
    label_studio: LabelStudio,  # noqa: F811
    start_process: Start,
) -> None:
    publisher = start_process(PUBLISHER)
    first = make_ready(store, label_studio.url, task_id=1)
    enqueue_publish(redis_connection, first.id)
    wait_until(lambda: store.progress.counts() == {"published": 1}, 120)
    redis_connection.config_set("maxmemory", redis_connection.info()["used_memory"] // 2)
    late = start_process(PUBLISHER)  # begins while nothing is taken
    start_process(SWEEPER)
    for task in range(2, 12):
        make_ready(store, label_studio.url, task_id=task)
    time.sleep(20)
    assert [process.poll() for process in (publisher, late)] == [None, None]
    assert store.progress.counts() == {"published": 1, "ready": 10}
    redis_connection.config_set("maxmemory", 0)
    wait_until(lambda: store.progress.counts() == {"published": 11}, 120)
    assert Counter(sent["task"] for sent in label_studio.predictions) == dict.fromkeys(range(1, 12), 1)


@pytest.mark.faults
def test_a_publisher_that_stands_still_for_a_minute_sends_nothing_twice(
    settings: Settings,
    redis_connection: Redis,
    store: Store,
    label_studio: LabelStudio,  # noqa: F811
    start_process: Start,
) -> None:
    stopped = start_process(PUBLISHER)
    start_process(SWEEPER)
    rows = [make_ready(store, label_studio.url, task_id=task) for task in range(1, 41)]
    for row in rows:
        enqueue_publish(redis_connection, row.id)
    wait_until(lambda: store.progress.counts().get("published", 0) >= 3, 120)
    stopped.send_signal(signal.SIGSTOP)
    other = start_process(PUBLISHER)
    time.sleep(60)
    assert other.poll() is None
    stopped.send_signal(signal.SIGCONT)
    wait_until(lambda: store.progress.counts() == {"published": 40}, 120)
    time.sleep(5)
    assert Counter(sent["task"] for sent in label_studio.predictions) == dict.fromkeys(range(1, 41), 1)


@pytest.mark.faults
def test_a_redis_that_kept_nothing_is_killed(
    settings: Settings,
    redis_server: RedisServer,
    redis_connection: Redis,
    store: Store,
    want: Want,
    start_process: Start,
) -> None:
    redis_connection.config_set("appendonly", "no")
    rows = [want(task_id=task) for task in range(1, 21)]
    for row in rows:
        enqueue_prediction(redis_connection, row.id)
    redis_server.kill()
    for file in settings.redis_socket.parent.rglob("*aof*"):
        if file.is_file():
            file.unlink()
    redis_server.start()
    assert not redis_connection.keys("rq:job:*"), "all jobs are lost"
    start_process(SWEEPER)
    start_process(WORKER)
    wait_until(lambda: store.progress.counts() == {"ready": 20}, 120)
    assert {store.predictions.get(row.id).attempts for row in rows} == {1}


@pytest.mark.faults
def test_ten_thousand_tasks_at_once(
    settings: Settings, redis_connection: Redis, store: Store, start_process: Start
) -> None:
    start_process(BACKEND)
    wait_until(lambda: answers(settings.port), 120)
    body = {
        "tasks": [{"id": number, "data": {"image": bright_square()}} for number in range(1, 10_001)],
        "project": "5.1700000000",
        "label_config": label_config("bright"),
        "params": {"context": None},
    }
    answered: list[tuple[int, Any]] = []
    flood = threading.Thread(target=lambda: answered.append(ask(settings.port, "/predict", body)))
    flood.start()
    slowest = 0.0
    while flood.is_alive():
        began = time.monotonic()
        assert ask(settings.port, "/health")[0] == 200
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.1)
    [(status, answer)] = answered
    assert status == 200 and answer["results"] == [[]] * 10_000
    assert store.progress.counts() == {"requested": 10_000}
    assert slowest < 1.0, f"/health took {slowest:.2f} s"


def test_a_row_that_a_wrong_clock_dated_ahead_is_swept_in_time(store: Store, want: Want) -> None:
    ahead, fresh = want(task_id=1), want(task_id=2)
    with store.database.writing() as session:
        changed = update(PredictionRow).where(PredictionRow.id == ahead.id)
        session.execute(changed.values(updated_at=utc_now() + timedelta(hours=3)))
    assert store.requests.stale(30.0) == [ahead.id]
    run = store.finetunes.request("by-hand", None, corrections=1)
    assert run is not None and store.finetunes.claim("far ahead", 3 * 3600.0) is not None
    assert store.finetunes.claim("here", 60.0) is not None, "no lease of a minute ends in three hours"
    assert store.finetunes.claim("somebody else", 60.0) is None
    assert fresh.id not in store.requests.stale(30.0)
