"""What runs on this machine is found by who looks for it, and by nobody else."""

import json
import stat
import tempfile
from pathlib import Path

import pytest

from backend.console.supervisor.embedded_redis import data_folder_lock
from backend.operations.running import announced, beside_running, running_here, running_in, where_a_store_is
from labeling.settings import Settings


@pytest.fixture(autouse=True)
def signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Signs of what else runs on this machine are out of sight."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_supervisor_is_found_while_it_runs_and_not_afterwards(settings: Settings, tmp_path: Path) -> None:
    listening = settings.model_copy(update={"port": 9191, "backend_url": "http://lab:9191"})
    with data_folder_lock(listening), announced(listening):
        found = running_here()
        assert [(each.data_dir, each.port) for each in found] == [(settings.data_dir, 9191)]
        assert str(settings.data_dir) in where_a_store_is() and "export ARGENSEG_DATA_DIR=" in where_a_store_is()
        other_shell = beside_running(settings)
        assert (other_shell.port, other_shell.backend_url) == (9191, "http://lab:9191")
        assert stat.S_IMODE((settings.data_dir / "running.json").stat().st_mode) == 0o600
    assert running_here() == [] and beside_running(settings) == settings
    assert "argenseg up" in where_a_store_is()


def test_the_demo_is_found_with_its_environment_file(settings: Settings, tmp_path: Path) -> None:
    demo = settings.model_copy(update={"data_dir": tmp_path / "demo" / "argenseg"})
    with data_folder_lock(demo), announced(demo):
        (tmp_path / "demo" / "argenseg.env").touch()
        assert f". {tmp_path / 'demo' / 'argenseg.env'}" in where_a_store_is()


def test_what_a_killed_supervisor_left_is_nothing_that_runs(settings: Settings) -> None:
    (settings.data_dir / "supervisor.lock").touch()
    (settings.data_dir / "running.json").write_text(json.dumps({"host": "h", "port": 1, "backend_url": None}))
    assert running_in(settings.data_dir) is None


@pytest.mark.parametrize("told", ["", "[]", '{"host": "h"}', '{"host": "h", "port": "x", "backend_url": null}'])
def test_an_address_that_cannot_be_read_is_none(settings: Settings, told: str) -> None:
    with data_folder_lock(settings):
        (settings.data_dir / "running.json").write_text(told)
        assert running_in(settings.data_dir) is None
