"""`argenseg backup`, `restore` and `health` as commands."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backend.console.cli import main
from labeling.store import Store


def run(folder: Path, *arguments: str, **options: bytes) -> Result:
    environment = {"ARGENSEG_DATA_DIR": str(folder), "REDIS_URL": f"unix://{folder}/none.sock"}
    return CliRunner(env=environment).invoke(main, list(arguments), **options)


def test_backup_and_restore_by_files(tmp_path: Path) -> None:
    file = tmp_path / "backup.tar.gz"
    Store.open(f"sqlite:///{tmp_path}/old/argenseg.db", str(tmp_path / "old" / "blobs")).close()
    assert run(tmp_path / "old", "backup", str(file)).output.startswith(f"{file} was written: 0 rows")
    assert file.stat().st_mode & 0o777 == 0o600
    again = run(tmp_path / "old", "backup", str(file))
    assert (again.exit_code, "is there already" in again.output) == (2, True)
    assert run(tmp_path / "new", "restore", str(file)).output.startswith("Restored: 0 rows")


def test_backup_and_restore_by_pipes(tmp_path: Path) -> None:
    Store.open(f"sqlite:///{tmp_path}/old/argenseg.db", str(tmp_path / "old" / "blobs")).close()
    stream = run(tmp_path / "old", "backup", "-").stdout_bytes
    assert run(tmp_path / "new", "restore", "-", input=stream).stdout.startswith("Restored: 0 rows")


def test_a_backup_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    result = run(tmp_path / "old", "backup", str(tmp_path / "none" / "backup.tar.gz"))
    assert (result.exit_code, "cannot be written: No such file" in result.output) == (1, True)


@pytest.mark.parametrize("role", ["worker", "publisher", "sweeper", "scheduler"])
def test_health_of_a_role_without_redis_is_bad(tmp_path: Path, role: str) -> None:
    result = run(tmp_path, "health", role)
    assert (result.exit_code, "Redis does not answer" in result.output) == (1, True)


def test_health_of_a_backend_that_is_down_is_bad(tmp_path: Path) -> None:
    with socket.socket() as taken:  # and never listens
        taken.bind(("127.0.0.1", 0))
        environment = {"ARGENSEG_DATA_DIR": str(tmp_path), "PORT": str(taken.getsockname()[1])}
        result = CliRunner(env=environment).invoke(main, ["health", "backend"])
    assert (result.exit_code, "does not answer" in result.output) == (1, True)
