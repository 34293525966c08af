"""What runs on this machine is found by who looks for it, and by nobody else."""

import json
import os
import stat
import tempfile
from collections.abc import Callable
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


def _lay_a_link(place: Path, elsewhere: Path) -> None:
    place.symlink_to(elsewhere)


def _let_all_write(place: Path, elsewhere: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


@pytest.mark.parametrize("lay", [_lay_a_link, _let_all_write])
def test_nothing_is_written_to_or_read_from_a_place_that_others_laid(
    lay: Callable[[Path, Path], None], settings: Settings, signs: Path, tmp_path: Path
) -> None:
    elsewhere, place = tmp_path / "elsewhere", signs / f"argenseg-{os.getuid()}-running"
    elsewhere.mkdir()
    lay(place, elsewhere)
    (place / "0.path").write_text(str(settings.data_dir))
    with data_folder_lock(settings), announced(settings):
        assert [file.name for file in place.iterdir()] == ["0.path"]
        assert running_here() == []
        assert running_in(settings.data_dir) is not None


def test_a_data_folder_with_a_name_that_is_no_utf_8_is_found_too(settings: Settings, tmp_path: Path) -> None:
    odd = settings.model_copy(update={"data_dir": tmp_path / os.fsdecode(b"caf\xe9")})
    odd.data_dir.mkdir()
    with data_folder_lock(odd), announced(odd):
        assert [each.data_dir for each in running_here()] == [odd.data_dir]


def test_a_sign_that_holds_nothing_of_use_hides_no_other(settings: Settings, signs: Path) -> None:
    with data_folder_lock(settings), announced(settings):
        (signs / f"argenseg-{os.getuid()}-running" / "0.path").write_bytes(b"\xff\x00/x")
        assert [each.data_dir for each in running_here()] == [settings.data_dir]
