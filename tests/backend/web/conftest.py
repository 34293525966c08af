"""A backend on a real store and a real Redis, with a worker that draws one square instead of running a model."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis, RedisError
from rq.timeouts import TimerDeathPenalty

from backend.console.supervisor.embedded_redis import find_redis_server
from backend.web.app import create_app
from labeling.predictions import PredictedMask, build_prediction
from labeling.regions.cropped_mask import CroppedMask
from labeling.settings import Settings
from labeling.store import Store
from tests.backend.web.recorded import eventually
from worker.queue.connection import connect
from worker.queue.leased_worker import LeasedWorker
from worker.queue.queues import GPU, PREDICT, enqueue_prediction


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="argenseg-test-"))  # a unix socket's path must be short
    path = folder / "redis.sock"
    command = [str(find_redis_server()), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: _answers(Redis(unix_socket_path=str(path))))
        yield f"unix://{path}"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _answers(connection: "Redis") -> bool:
    try:
        return bool(connection.ping())
    except RedisError:
        return False


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_name": "tiny-1"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path, redis_url: str) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        redis_url=redis_url,
        model=str(model_folder),
        label_studio_url="http://label-studio.test",
        threads=4,
        predict_wait_s=8,
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings.database_url, settings.blob_url) as store:
        yield store


@pytest.fixture
def connection(settings: Settings) -> Iterator["Redis"]:
    connection = connect(settings)
    connection.flushall()
    yield connection
    connection.close()


@pytest.fixture
def app(settings: Settings, store: Store, connection: "Redis") -> Iterator[Flask]:
    app = create_app(settings, store, connection)
    yield app
    app.extensions["argenseg"].background.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def gpu_worker(settings: Settings, store: Store) -> Iterator[list[int]]:
    """A real RQ worker in a thread. It answers every prompt with a 20 x 10 square; yields the ids it has predicted."""
    predicted: list[int] = []

    def predict(prediction_id: int) -> None:
        row = None if stop.is_set() else store.requests.begin(prediction_id)
        if row is None:
            return
        mask = np.zeros((48, 64), bool)
        mask[10:20, 10:30] = True
        shape = CroppedMask.of(mask)
        masks = [
            PredictedMask(item.label, item.prompt, item.from_name, item.to_name, item.region_type, shape, 0.75)
            for item in row.plan.items
        ]
        store.predictions.finish(prediction_id, build_prediction(masks, row.model_version, 64, 48))
        predicted.append(prediction_id)

    class ThreadWorker(LeasedWorker):
        death_penalty_class = TimerDeathPenalty  # only the main thread has signals

        def _install_signal_handlers(self) -> None:
            pass

    def work() -> None:
        while not stop.is_set():
            ThreadWorker(GPU, connect(settings), {PREDICT: predict}).work(max_jobs=1)

    stop = threading.Event()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield predicted
    stop.set()
    enqueue_prediction(connect(settings), 0)  # wakes it up
    thread.join()


@pytest.fixture
def silent_redis() -> Iterator["Redis"]:
    """A Redis that accepts connections and never answers, seen through the backend's own kind of connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield connect(Settings(redis_url=f"redis://127.0.0.1:{server.getsockname()[1]}"))


@pytest.fixture
def dead_redis(tmp_path: Path) -> "Redis":
    return connect(Settings(redis_url=f"unix://{tmp_path / 'nobody.sock'}"))


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("LABEL_STUDIO_", "BASIC_AUTH_", "REDIS_URL"))]:
        monkeypatch.delenv(name)
