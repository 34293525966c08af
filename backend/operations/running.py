"""What runs on this machine, and where: a supervisor says so in its data folder, and in a place where others look."""

import fcntl
import hashlib
import json
import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from labeling.settings import Settings

LOCK = "supervisor.lock"
_ADDRESS = "running.json"


@dataclass(frozen=True)
class Running:
    """An installation that a supervisor keeps running: where it listens, and how Label Studio reaches it."""

    data_dir: Path
    host: str
    port: int
    backend_url: str | None = None

    def how_to_use(self) -> str:
        """What a person types so that commands of this shell are about it."""
        environment = self.data_dir.parent / "argenseg.env"  # the demo writes one
        if environment.is_file():
            return f". {shlex.quote(str(environment))}"
        return f"export ARGENSEG_DATA_DIR={shlex.quote(str(self.data_dir))}"


@contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """Say where the backend of these settings is, until the end of the block. Call it under `data_folder_lock`."""
    address = {"host": settings.host, "port": settings.port, "backend_url": settings.backend_url}
    sign = _signs() / f"{hashlib.sha256(os.fsencode(settings.data_dir)).hexdigest()[:16]}.path"
    try:
        _write_private(settings.data_dir / _ADDRESS, json.dumps(address))
        with suppress(OSError):  # then others do not find us, and that is all
            sign.parent.mkdir(mode=0o700, exist_ok=True)
            if _is_ours(sign.parent):
                _write_private(sign, str(settings.data_dir))
        yield
    finally:
        with suppress(OSError):
            (settings.data_dir / _ADDRESS).unlink(missing_ok=True)
        with suppress(OSError):
            if _is_ours(sign.parent):
                sign.unlink(missing_ok=True)


def running_in(data_dir: Path) -> Running | None:
    """What runs in this data folder; None if nothing does, or it cannot be read."""
    try:
        if not _is_held(data_dir / LOCK):
            return None
        told = json.loads((data_dir / _ADDRESS).read_text(encoding="utf-8"))
        return Running(data_dir, str(told["host"]), int(told["port"]), told["backend_url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def running_here() -> list[Running]:
    """All that this user runs on this machine."""
    found: list[Running] = []
    with suppress(OSError):
        folder = _signs()
        if _is_ours(folder):
            places = [Path(os.fsdecode(sign.read_bytes())) for sign in sorted(folder.glob("*.path"))]
            found = [each for each in map(running_in, places) if each is not None]
    return found


def beside_running(settings: Settings) -> Settings:
    """The settings, with the address of the supervisor that runs in their data folder, if one does."""
    running = running_in(settings.data_dir)
    if running is None:
        return settings
    address = {"host": running.host, "port": running.port}
    return settings.model_copy(update=address | {"backend_url": settings.backend_url or running.backend_url})


def where_a_store_is() -> str:
    """What a person does whose settings lead to no store: use that of what runs here, or make one."""
    found = [f"{each.data_dir} (in this shell: {each.how_to_use()})" for each in running_here()]
    if found:
        return f"A running argenseg has one in {', another in '.join(found)}."
    return "Is ARGENSEG_DATA_DIR (or DATABASE_URL) what argenseg up had? To begin one: argenseg up."


def _signs() -> Path:
    return Path(tempfile.gettempdir()) / f"argenseg-{os.getuid()}-running"


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can put anything there: else somebody made it, or a link, to lead us astray. OSError."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _is_held(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _write_private(file: Path, text: str) -> None:
    unfinished = file.with_name(f"{file.name}.part")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(os.fsencode(text))
    unfinished.replace(file)
