"""Commands in a shell without environment: what only reads makes nothing, and says where to look."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from backend.console.cli import main
from backend.console.supervisor.embedded_redis import data_folder_lock
from backend.operations.running import announced
from labeling.settings import Settings
from labeling.store import Store

READING = [
    ["stats"],
    ["corrections", "list"],
    ["corrections", "show", "1"],
    ["corrections", "exclusions", "--project", "1"],
    ["corrections", "export", "new-folder"],
    ["corrections", "sync"],
    ["models", "list"],
    ["models", "rollback"],
    ["finetune"],
    ["backup", "file.tar.gz"],
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder and working folder of somebody who set nothing."""
    for name in ("ARGENSEG_DATA_DIR", "DATABASE_URL", "BLOB_URL", "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(home)
    return home


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_reading_makes_no_store_and_names_the_one_it_looked_for(home: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 3, result.output
    assert f"There is no store at {home}/.argenseg/argenseg.db" in result.output and "Traceback" not in result.output
    assert list(home.iterdir()) == []


def test_the_message_names_the_store_of_what_runs_here(home: Path, settings: Settings) -> None:
    with data_folder_lock(settings), announced(settings):
        result = CliRunner().invoke(main, ["stats"])
    assert f"export ARGENSEG_DATA_DIR={settings.data_dir}" in result.output


def test_doctor_makes_nothing_either(home: Path) -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1 and f"There is no store at {home}/.argenseg" in result.output
    assert not (home / ".argenseg").exists()


def test_doctor_looks_where_the_running_supervisor_listens(
    home: Path, settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARGENSEG_DATA_DIR", str(settings.data_dir))
    with data_folder_lock(settings), announced(settings.model_copy(update={"port": 2})):
        assert "http://127.0.0.1:2" in CliRunner().invoke(main, ["doctor"]).output
    assert "http://127.0.0.1:9090" in CliRunner().invoke(main, ["doctor"]).output


def test_a_label_studio_that_nobody_named_is_a_refusal(home: Path) -> None:
    result = CliRunner().invoke(main, ["predict", "--project", "3"])
    assert result.exit_code == 3 and "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY" in result.output
