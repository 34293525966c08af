import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.console.supervisor.up import up
from labeling.errors import SettingsError
from labeling.settings import Settings, environment_of

ROOT = Path(__file__).parents[4]


def test_other_processes_read_the_same_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://somewhere.else:6379")
    changed = {"port": 9191, "label_studio_api_key": SecretStr("secret"), "allow_private_image_hosts": True}
    ours = settings.model_copy(update=changed)
    for name, value in environment_of(ours).items():
        monkeypatch.setenv(name, value)
    assert Settings() == ours


def test_the_backend_is_reached_on_this_machine(settings: Settings) -> None:
    ours = settings.model_copy(update={"host": "0.0.0.0", "port": 9191})
    assert ours.public_backend_url == "http://127.0.0.1:9191"


def test_nothing_is_started_for_a_label_studio_that_is_not_named(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="LABEL_STUDIO_API_KEY"):
        up(settings, [3])
    assert list(settings.data_dir.iterdir()) == []


def test_up_without_a_model_stops_everything_and_says_why(settings: Settings) -> None:
    broken = settings.model_copy(update={"model": str(settings.data_dir / "nowhere"), "port": 0})
    environment = {**os.environ, **environment_of(broken), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "backend.console.cli", "up"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 1
    assert "nowhere" in ended.stdout
    assert "worker ended with exit code 78" in ended.stderr
    assert not (settings.data_dir / "redis" / "redis.sock").exists()  # Redis was stopped, not killed
