"""A real Redis on a unix socket, a store of its own for each test, and tasks whose images need no server."""

import base64
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image
from redis import Redis
from redis.exceptions import RedisError

from backend.console.supervisor.embedded_redis import find_redis_server, redis_command
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.settings import Settings, environment_of
from labeling.store import Delivery, PredictionRequest, Store
from tests.worker.label_studio_double import CONFIG, LabelStudioDouble
from tests.worker.synced import URL
from worker.context import JobContext
from worker.queue.connection import connect, redis_socket

LABEL_STUDIO_URL = "http://127.0.0.1:8080"


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Fail if `condition` does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process lives; one that has ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def bright_square() -> str:
    """A 40 x 30 picture with a bright 10 x 10 square at (5, 5), as a data: URL."""
    pixels = np.zeros((30, 40), np.uint8)
    pixels[5:15, 5:15] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def label_config(*prompts: str) -> str:
    """Brush labels l0, l1, ... with these prompts."""
    labels = "".join(f'<Label value="l{number}" prompt="{prompt}"/>' for number, prompt in enumerate(prompts))
    tags = f'<Image name="image" value="$image"/><BrushLabels name="tag" toName="image">{labels}</BrushLabels>'
    return f"<View>{tags}</View>"


class RedisServer:
    """The embedded Redis, started as the supervisor would."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.start()

    def start(self) -> None:
        command = redis_command(self.settings, find_redis_server())
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self.answers)

    def answers(self) -> bool:
        with suppress(RedisError):
            return bool(connect(self.settings).ping())
        return False

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        self.process.send_signal(signal_number)
        self.process.wait()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an installation in a temporary folder, whatever the environment says."""
    for name in environment_of(Settings()):
        monkeypatch.delenv(name, raising=False)
    return Settings(data_dir=tmp_path, label_studio_url=LABEL_STUDIO_URL, segment_timeout_s=1.5, device="cpu")


@pytest.fixture
def redis_server(settings: Settings) -> Iterator[RedisServer]:
    server = RedisServer(settings)
    yield server
    server.kill()
    with suppress(OSError):
        redis_socket(settings).unlink()


@pytest.fixture
def redis_connection(redis_server: RedisServer) -> Redis:
    return connect(redis_server.settings)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings.database_url, settings.blob_url) as store:
        yield store


@pytest.fixture
def context(settings: Settings, store: Store, redis_connection: Redis) -> JobContext:
    return JobContext(settings, store, None, redis_connection)


Want = Callable[..., PredictionRequest]


@pytest.fixture
def want(store: Store) -> Want:
    """Record a row for a task with a bright square, by default to be pushed."""

    def want(
        *prompts: str,
        task_id: int = 1,
        delivery: Delivery = "push",
        interactive: bool = False,
        image: str | None = None,
    ) -> PredictionRequest:
        config = label_config(*(prompts or ("bright",)))
        project = store.projects.upsert(LABEL_STUDIO_URL, 5, config)
        data = {"image": bright_square() if image is None else image}
        plan = plan_prompts(parse_label_config(config), data)
        return store.requests.add(
            project, task_id, data, plan, "threshold · 1", delivery=delivery, interactive=interactive
        )

    return want


@pytest.fixture
def start_process(settings: Settings) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Run Python code in a process of its own that reads our settings from its environment."""
    processes = []

    def start(code: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, **environment_of(settings), "PYTHONPATH": str(Path(__file__).parents[2])}
        processes.append(subprocess.Popen([sys.executable, "-c", code], env=environment))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("store") / "argenseg.db"
    Store.open(f"sqlite:///{file}", str(file.parent / "blobs")).close()
    return file


@pytest.fixture
def open_context(fresh_database: Path) -> Iterator[Callable[[LabelStudioDouble], JobContext]]:
    """A store and a data folder of its own for each call."""
    with TemporaryDirectory() as folder:
        stores: list[Store] = []

        def open_one(label_studio: LabelStudioDouble) -> JobContext:
            home = Path(folder) / str(len(stores))
            home.mkdir()
            shutil.copy(fresh_database, home)
            configured = Settings(data_dir=home, label_studio_url=URL)
            stores.append(Store.open(configured.database_url, configured.blob_url))
            stores[-1].projects.upsert(URL, 5, CONFIG)
            return JobContext(configured, stores[-1], label_studio, None)  # type: ignore[arg-type]

        yield open_one
        for store in stores:
            store.close()
