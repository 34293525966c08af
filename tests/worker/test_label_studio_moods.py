"""Label Studio has bad moments, tasks wait in every stage, and all of them are sent, once, when it is well again.

Worker, model process, publisher and sweeper are real processes; Label Studio is a server of the test's, because a real
one cannot be made to answer with somebody else's login page.
"""

import base64
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from redis import Redis

from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.settings import Settings
from labeling.store import Store
from tests.serving import serving
from tests.worker.conftest import bright_square, label_config, wait_until
from tests.worker.publishing.test_publisher import make_ready
from worker.queue.queues import enqueue_prediction, enqueue_publish

TASKS = 20
RECOVERY_S = 150.0
MOODS = ("refuses the token", "login page", "web page", "JSON", "bad gateway", "a byte a second")
PNG = base64.b64decode(bright_square().partition(",")[2])
PAGE = b"<!DOCTYPE html><html><head><title>Back soon</title></head><body>We are working on it.</body></html>"

Start = Callable[[str], "subprocess.Popen[bytes]"]

WORKER = """
import sys
from labeling.settings import Settings
from worker.gpu_worker import predictor
from worker.gpu_worker.worker import run
{shorter}
sys.exit(run(Settings(), "tests.worker.segmenters:threshold"))
"""
PUBLISHER = """
from labeling.settings import Settings
from labeling.label_studio import client
from worker.publishing import publisher
from worker.context import JobContext
from worker.queue.jobs import publish_functions
from worker.queue.leased_worker import LeasedWorker
from worker.queue.queues import PUBLISH
{shorter}
with JobContext.open(Settings()) as context:
    LeasedWorker(PUBLISH, context.connection, publish_functions(context)).work(logging_level="WARNING")
"""
SWEEPER = """
import threading
from labeling.settings import Settings
from worker import sweeper
from worker.context import JobContext
with JobContext.open(Settings()) as context:
    sweeper.run(context, threading.Event())
"""
SHORTER_WORKER = "predictor.OUTAGE_INTERVALS_S = (1,) * 100"
SHORTER_PUBLISHER = """publisher.RETRY_INTERVALS_S = (1,) * 100
client.LabelStudioClient.__init__.__defaults__ = (1.0, 2.0)"""


class MoodyLabelStudio(ThreadingHTTPServer):
    """Images, predictions, and who we are, to whom has the token; in a bad `mood` something else for all of them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mood: str | None = None
        self.asked_in = Counter[str]()
        self.predictions: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/label-studio"


class Handler(BaseHTTPRequestHandler):
    server: MoodyLabelStudio

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path.removeprefix("/label-studio"), urlsplit(self.path).query
        if path == "/user/login":
            self.answer(200, PAGE, "text/html")
        elif self.is_well():
            if path.startswith("/data/upload/"):
                self.answer(200, PNG, "image/png")
            elif path == "/api/current-user/whoami":
                self.answer(200, {"id": 1})
            else:
                task = int(parse_qs(query)["task"][0])
                self.answer(200, [each for each in self.server.predictions if each["task"] == task])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.is_well():
            self.server.predictions.append({"id": 100 + len(self.server.predictions), **body})
            self.answer(201, self.server.predictions[-1])

    def is_well(self) -> bool:
        assert self.headers["Authorization"] == "Token token"
        mood = self.server.mood
        if mood is None:
            return True
        self.server.asked_in[mood] += 1
        match mood:
            case "refuses the token":
                self.answer(401, {"detail": "Invalid token."})
            case "login page":
                self.send_response(302)
                self.send_header("Location", "/label-studio/user/login")
                self.send_header("Content-Length", "0")
                self.end_headers()
            case "web page":
                self.answer(200, PAGE, "text/html")
            case "JSON":
                self.answer(200, "starting")
            case "bad gateway":
                self.answer(502, PAGE, "text/html")
            case "a byte a second":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                with suppress(OSError):  # until they have had enough
                    while True:
                        self.wfile.write(b"\x89")
                        time.sleep(1)
        return False

    def answer(self, status: int, body: object, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def label_studio() -> Iterator[MoodyLabelStudio]:
    with serving(MoodyLabelStudio()) as server:
        yield server


@pytest.fixture
def settings(settings: Settings, label_studio: MoodyLabelStudio, is_short: bool) -> Settings:
    options = {"image_timeout_s": 2.0 if is_short else 30.0, "segment_timeout_s": 30.0, "device": "cpu"}
    url = {"label_studio_url": label_studio.url, "label_studio_api_key": "token"}
    return Settings(data_dir=settings.data_dir, **url, **options)


@pytest.fixture
def is_short(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def request_task(store: Store, url: str, task_id: int) -> int:
    config, data = label_config("bright"), {"image": f"/data/upload/1/{task_id}.png"}
    project = store.projects.upsert(url, 6, config)
    plan = plan_prompts(parse_label_config(config), data)
    return store.requests.add(project, task_id, data, plan, "threshold · 1", delivery="push").id


def send_all_through(
    moods: tuple[str, ...], mood_s: float, settings: Settings, connection: Redis, store: Store, server: MoodyLabelStudio
) -> float:
    """Queue half of the tasks to be computed and half to be sent, go through the moods; the seconds of recovery."""
    server.mood = moods[0]
    for task in range(1, TASKS + 1):
        if task % 2:
            enqueue_prediction(connection, request_task(store, server.url, task))
        else:
            enqueue_publish(connection, make_ready(store, server.url, task_id=task).id)
    for mood in moods:
        server.mood, until = mood, time.monotonic() + mood_s
        wait_until(lambda mood=mood: server.asked_in[mood] >= 3, 120)  # type: ignore[misc]
        time.sleep(max(0.0, until - time.monotonic()))
        counts = store.progress.counts()
        assert counts == {"requested": TASKS // 2, "ready": TASKS // 2}, f"{mood}: {counts}"
    recovered = time.monotonic()
    server.mood = None
    wait_until(lambda: store.progress.counts() == {"published": TASKS}, RECOVERY_S)
    assert Counter(sent["task"] for sent in server.predictions) == dict.fromkeys(range(1, TASKS + 1), 1)
    return time.monotonic() - recovered


@pytest.mark.parametrize("is_short", [True], indirect=True, ids=[""])
def test_twenty_tasks_through_all_bad_moments_are_sent_once(
    settings: Settings, redis_connection: Redis, store: Store, label_studio: MoodyLabelStudio, start_process: Start
) -> None:
    start_process(SWEEPER)
    start_process(PUBLISHER.format(shorter=SHORTER_PUBLISHER))
    start_process(WORKER.format(shorter=SHORTER_WORKER))
    send_all_through(MOODS, 2.0, settings, redis_connection, store, label_studio)


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_short", [False], indirect=True, ids=[""])
@pytest.mark.parametrize("mood", MOODS)
def test_twenty_tasks_are_sent_within_150_seconds_of_recovery(
    settings: Settings,
    redis_connection: Redis,
    store: Store,
    label_studio: MoodyLabelStudio,
    start_process: Start,
    mood: str,
) -> None:
    start_process(SWEEPER)
    start_process(PUBLISHER.format(shorter=""))
    start_process(WORKER.format(shorter=""))
    took_s = send_all_through((mood,), 90.0, settings, redis_connection, store, label_studio)
    print(f"{mood}: {took_s:.0f} s")
