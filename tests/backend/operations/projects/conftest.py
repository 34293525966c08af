"""A project in a Label Studio of our own making, opened as the commands open it."""

from collections.abc import Iterator

import pytest
from redis import Redis

from labeling.settings import Settings
from labeling.store import Store
from tests.backend.operations.projects.label_studio_double import LabelStudioDouble
from tests.worker.conftest import bright_square, label_config
from worker.projects.open_project import OpenProject, open_project


@pytest.fixture
def label_studio() -> Iterator[LabelStudioDouble]:
    double = LabelStudioDouble(label_config("bright"))
    double.add_tasks(*[bright_square()] * 5)
    yield double
    double.close()


@pytest.fixture
def connected(settings: Settings, label_studio: LabelStudioDouble) -> Settings:
    """Of an installation whose backend was started before: there is a store."""
    Store.open(settings.database_url, settings.blob_url).close()
    (settings.data_dir / "model").mkdir()
    (settings.data_dir / "model" / "config.json").write_text('{"model_name": "tiny"}')
    (settings.data_dir / "model" / "model.safetensors").write_bytes(b"weights")
    changes = {"label_studio_url": label_studio.url, "label_studio_api_key": "secret-token", "port": 9191}
    return Settings(**{**settings.model_dump(), **changes, "model": str(settings.data_dir / "model")})


@pytest.fixture
def project(connected: Settings, redis_connection: Redis) -> Iterator[OpenProject]:
    with open_project(connected, 5) as opened:
        yield opened
