"""Everything is killed in the middle of its work, and nothing is lost and nothing doubled.

Redis, RQ, backend, GPU worker, model process, publisher and sweeper are real processes; Label Studio is a server of the
test's that counts what it was sent.
"""

import base64
import io
import json
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from redis import Redis
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from labeling.settings import Settings
from labeling.store import Store
from tests.worker.conftest import RedisServer, Want, bright_square, label_config, wait_until
from tests.worker.publishing.test_publisher import LabelStudio, label_studio, make_ready  # noqa: F401 (a fixture)
from worker.queue.queues import enqueue_prediction, enqueue_publish

TASKS = 60

Start = Callable[[str], "subprocess.Popen[bytes]"]

WORKER = """
import logging, sys
from labeling.settings import Settings
from worker.gpu_worker import predictor
from worker.gpu_worker.worker import GpuWorker, run
logging.basicConfig(level="INFO")
GpuWorker.lease_s = 3
predictor.OUTAGE_INTERVALS_S = predictor.SLOW_HOST_INTERVALS_S = (1,) * 4
sys.exit(run(Settings(), "tests.worker.segmenters:paced"))
"""
PUBLISHER = """
from labeling.settings import Settings
from worker.publishing import publisher
from worker.context import JobContext
from worker.queue.jobs import publish_functions
from worker.queue.leased_worker import LeasedWorker
from worker.queue.queues import PUBLISH
publisher.RETRY_INTERVALS_S = (1,) * 5
LeasedWorker.lease_s = 3
with JobContext.open(Settings()) as context:
    LeasedWorker(PUBLISH, context.connection, publish_functions(context)).work(logging_level="WARNING")
"""
SWEEPER = """
import threading
from labeling.settings import Settings
from worker import sweeper
from worker.context import JobContext
sweeper.SWEEP_INTERVAL_S, sweeper.sweep.__defaults__ = 1.0, (1.0,)
with JobContext.open(Settings()) as context:
    sweeper.run(context, threading.Event())
"""
BACKEND = """
from backend.web.server import serve
from labeling.settings import Settings
serve(Settings())
"""


class ImageHandler(BaseHTTPRequestHandler):
    """/slow.png comes a byte at a time and never ends; all else is missing."""

    def do_GET(self) -> None:
        is_slow = self.path == "/slow.png"
        self.send_response(200 if is_slow else 404)
        self.end_headers()
        with suppress(OSError):  # until they have had enough
            while is_slow:
                self.wfile.write(b"\x89")
                time.sleep(0.1)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def image_host() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), ImageHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def settings(settings: Settings, label_studio: LabelStudio) -> Settings:  # noqa: F811
    options = {"label_studio_url": label_studio.url, "label_studio_api_key": "token", "port": free_port()}
    images = {"image_timeout_s": 1.0, "allow_private_image_hosts": True}
    return Settings(data_dir=settings.data_dir, segment_timeout_s=30, device="cpu", **options, **images)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def model_process_of(worker: "subprocess.Popen[bytes]") -> int:
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    [model] = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return model


def bad_images(image_host: str) -> dict[int, tuple[str, str]]:
    """By task: an image that cannot be predicted, and what the reason must say."""
    large = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(large, "PNG")
    whole = base64.b64decode(bright_square().partition(",")[2])
    return {
        7: (as_data_url(whole[:60]), "no picture"),  # its header is whole: it comes as far as the model
        20: (as_data_url(large.getvalue()), "12000 x 12000 pixels, more than"),
        33: (f"{image_host}/missing.png", "answered 404"),
        46: (f"{image_host}/slow.png", "took longer than 1 s"),
    }


def as_data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def predict_tasks(settings: Settings, bad: dict[int, tuple[str, str]]) -> None:
    """What Label Studio sends for Retrieve Predictions."""
    images = {number: bright_square() for number in range(1, TASKS + 1)}
    images |= {number: image for number, (image, _) in bad.items()}
    body = {
        "tasks": [{"id": number, "data": {"image": image}} for number, image in images.items()],
        "project": "5.1700000000",
        "label_config": label_config("bright"),
        "params": {"context": None},
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{settings.port}/predict", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert json.load(response)["results"] == [[] for _ in range(TASKS)]


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_everything_is_killed_in_mid_run(
    settings: Settings,
    redis_server: RedisServer,
    store: Store,
    label_studio: LabelStudio,  # noqa: F811
    image_host: str,
    start_process: Start,
) -> None:
    bad = bad_images(image_host)

    def computed() -> int:
        return sum(count for status, count in store.progress.counts().items() if status in ("ready", "published"))

    backend = start_process(BACKEND)
    wait_until(lambda: answers(settings.port), 120)
    predict_tasks(settings, bad)
    kill(backend)  # most jobs of its requests were not queued yet
    assert sum(store.progress.counts().values()) == TASKS
    start_process(SWEEPER)
    publisher, worker = start_process(PUBLISHER), start_process(WORKER)
    wait_until(lambda: computed() >= 5, 120)
    kill_model = model_process_of(worker)
    subprocess.run(["kill", "-KILL", str(kill_model)], check=True)
    wait_until(lambda: computed() >= 15)
    kill(worker)
    worker = start_process(WORKER)
    wait_until(lambda: computed() >= 30, 120)
    kill(publisher)
    publisher = start_process(PUBLISHER)
    wait_until(lambda: computed() >= 40)
    redis_server.kill()
    redis_server.start()
    wait_until(lambda: store.progress.counts() == {"published": TASKS - len(bad), "failed": len(bad)}, 120)
    good = set(range(1, TASKS + 1)) - set(bad)
    assert Counter(sent["task"] for sent in label_studio.predictions) == dict.fromkeys(good, 1)
    ended = [store.predictions.get(row) for row in range(1, TASKS + 1)]
    reasons = {row.task_id: row.error for row in ended if row.status == "failed"}
    assert reasons.keys() == bad.keys()
    assert not {task: reason for task, reason in reasons.items() if bad[task][1] not in (reason or "")}
    assert [process.poll() for process in (worker, publisher)] == [None, None]


def test_a_label_studio_that_is_away_and_a_token_that_is_revoked(
    settings: Settings,
    redis_connection: Redis,
    store: Store,
    label_studio: LabelStudio,  # noqa: F811
    start_process: Start,
) -> None:
    rows = [make_ready(store, label_studio.url, task_id=task) for task in range(1, 21)]
    label_studio.refusal, label_studio.gone = 500, {3}
    for row in rows:
        enqueue_publish(redis_connection, row.id)
    start_process(SWEEPER)
    start_process(PUBLISHER)
    wait_until(lambda: label_studio.refused >= 20, 120)
    label_studio.refusal = 401
    wait_until(lambda: "LABEL_STUDIO_API_KEY" in (store.predictions.get(rows[0].id).error or ""))
    assert store.progress.counts() == {"ready": 20}
    label_studio.refusal = None
    wait_until(lambda: store.progress.counts() == {"published": 19, "failed": 1})
    assert sorted(sent["task"] for sent in label_studio.predictions) == [task for task in range(1, 21) if task != 3]
    assert "404" in (store.predictions.get(rows[2].id).error or "")


def test_a_label_studio_that_refuses_connections_for_some_seconds(
    settings: Settings,
    redis_connection: Redis,
    store: Store,
    label_studio: LabelStudio,  # noqa: F811
    start_process: Start,
) -> None:
    def publish(*tasks: int) -> list[int]:
        rows = [make_ready(store, label_studio.url, task_id=task).id for task in tasks]
        for row in rows:
            enqueue_publish(redis_connection, row)
        return rows

    start_process(SWEEPER)
    start_process(PUBLISHER)
    publish(*range(1, 11))
    wait_until(lambda: store.progress.counts() == {"published": 10}, 120)
    label_studio.shutdown()
    label_studio.server_close()
    rows = publish(*range(11, 21))
    wait_until(lambda: all("does not answer" in (store.predictions.get(row).error or "") for row in rows))
    assert store.progress.counts() == {"published": 10, "ready": 10}
    label_studio.socket = socket.socket()
    label_studio.server_bind()  # to the port that it had
    label_studio.server_activate()
    threading.Thread(target=label_studio.serve_forever, args=(0.02,)).start()
    wait_until(lambda: store.progress.counts() == {"published": 20})
    assert Counter(sent["task"] for sent in label_studio.predictions) == dict.fromkeys(range(1, 21), 1)


def test_a_job_of_a_stranger_among_ours_runs_nothing(
    redis_connection: Redis, store: Store, want: Want, start_process: Start, tmp_path: Path
) -> None:
    rows = [want(task_id=task) for task in range(1, 4)]
    jobs = [enqueue_prediction(redis_connection, row.id) for row in rows]
    for job, data in zip(jobs, (["os.mkdir", None, [str(tmp_path / "made")], {}], None, [*["x"] * 3, {}]), strict=True):
        if data is not None:
            job.data = JSONSerializer.dumps(data)
            job.save()
    start_process(WORKER)
    wait_until(lambda: store.predictions.get(rows[1].id).status == "ready", 120)
    wait_until(lambda: [job.get_status() for job in jobs] == [JobStatus.FAILED, JobStatus.FINISHED, JobStatus.FAILED])
    assert not (tmp_path / "made").exists()
    assert [store.predictions.get(row.id).attempts for row in rows] == [0, 1, 0]
