"""Back up an installation while it runs, and restore it into an empty one: store, blobs, spool, fine-tuned models.

An archive is one stream: manifest.json, the spool's events, the tables, the blobs, the models' folders, end.json. What
Redis holds is not in it: the sweeper queues again what is unfinished.
"""

import json
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from gzip import BadGzipFile, GzipFile
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from sqlalchemy import Connection, text

from labeling.errors import StoreError
from labeling.settings import Settings
from labeling.store import backup as tables
from labeling.store.blobs import BlobStore
from labeling.store.database import Database, require_database
from worker.events.spool import spool_folder

_FORMAT = 1
_MANIFEST, _END = "manifest.json", "end.json"
_SPOOL, _MODELS = "spool", "models"
_BUSY_TIMEOUT_S = 60.0
_PATHS = {"model_versions": ("folder", "parent"), "finetune_runs": ("base", "manifest")}  # columns that hold paths


@dataclass(frozen=True)
class BackupSummary:
    """What is in a backup: rows of all tables, blobs, events that wait in the spool, fine-tuned models."""

    rows: int
    blobs: int
    spooled: int
    models: int

    def __str__(self) -> str:
        return f"{self.rows} rows, {self.blobs} masks, {self.spooled} spooled events, {self.models} fine-tuned models"


def write_backup(settings: Settings, stream: IO[bytes]) -> BackupSummary:
    """Write a backup to a stream, as of one moment; the installation may go on working. StoreError if a part fails,
    StoreMissing if there is nothing to back up.
    """
    require_database(settings.database_url)
    with (
        _database(settings) as database,
        GzipFile(fileobj=stream, mode="wb", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        manifest = {
            "format": _FORMAT,
            "revision": database.schema_revision(),
            "data_dir": str(settings.data_dir),
            "made_at": datetime.now(UTC).isoformat(),
        }
        tables.add_bytes(archive, _MANIFEST, json.dumps(manifest).encode())
        # the spool before the moment of the tables: an event that is stored meanwhile is then in both, and is kept once
        spooled = _write_spool(archive, spool_folder(settings))
        with tables.snapshot(database) as connection:
            counts = tables.write_tables(archive, connection)
            models = _write_models(archive, connection, settings.data_dir)
        # the blobs after it: all that the tables name are there
        written = tables.write_blobs(archive, BlobStore(settings.blob_url))
        tables.add_bytes(archive, _END, json.dumps(counts).encode())
    return BackupSummary(sum(counts.values()), written, spooled, models)


def restore_backup(settings: Settings, stream: IO[bytes]) -> BackupSummary:
    """Restore a backup from a stream into an EMPTY installation, whose processes must not run.

    StoreError if the installation holds anything, or the backup is no whole one; the database then stays empty.
    """
    try:
        with (
            _database(settings) as database,
            GzipFile(fileobj=stream) as packed,
            tarfile.open(fileobj=packed, mode="r|") as archive,
        ):
            members = _files(archive)
            manifest = _read_manifest(members)
            _require_empty(database, settings)
            tables.prepare(database, manifest["revision"])
            with database.engine.execution_options(writes=True).begin() as connection:
                summary = _Restore(settings, manifest["data_dir"], connection).run(members)
            database.migrate()
        return summary
    except (tarfile.TarError, BadGzipFile, zlib.error, EOFError, ValueError, KeyError) as error:
        raise StoreError(f"This is no whole backup of argenseg ({error}). Nothing was restored.") from error


class _Restore:
    """One restore, in one transaction."""

    def __init__(self, settings: Settings, old_data_dir: str, connection: Connection) -> None:
        self._settings = settings
        self._old_data_dir = old_data_dir
        self._connection = connection
        self._reader = tables.TableReader(connection)
        self._blobs = BlobStore(settings.blob_url)
        self._spooled: dict[str, bytes] = {}

    def run(self, members: Iterator[tuple[PurePosixPath, IO[bytes]]]) -> BackupSummary:
        blobs = 0
        models: set[str] = set()
        for path, file in members:
            folder, name = path.parts[0], path.name
            if folder == tables.TABLES:
                self._reader.insert(path.parts[1], file)
            elif folder == tables.BLOBS:
                if self._blobs.put(file.read()) != name:
                    raise StoreError(f"Blob {name} of the backup is damaged. Nothing was restored.")
                blobs += 1
            elif folder == _SPOOL:
                self._spooled[name] = file.read()
            elif folder == _MODELS:
                _write_file(self._settings.data_dir.joinpath(*path.parts[1:]), file)
                models.add(str(path.parent))
            elif str(path) == _END:
                self._finish(json.load(file))
                for spooled, content in self._spooled.items():  # last: a spool makes an installation no empty one
                    _write_file(spool_folder(self._settings) / spooled, BytesIO(content))
                return BackupSummary(sum(self._reader.counts.values()), blobs, len(self._spooled), len(models))
        raise EOFError("its end is missing")

    def _finish(self, counts: dict[str, int]) -> None:
        if counts != {name: self._reader.counts.get(name) for name in counts}:
            raise StoreError("Rows of the backup are missing. Nothing was restored.")
        self._reader.finish()
        for table, columns in _PATHS.items():
            for column in columns:
                self._move_paths(table, column)

    def _move_paths(self, table: str, column: str) -> None:
        """Let paths of the old data folder be those of ours."""
        old, new = f"{self._old_data_dir}/", f"{self._settings.data_dir}/"
        moved = (
            f"UPDATE {table} SET {column} = :new || substr({column}, :start) WHERE substr({column}, 1, :length) = :old"
        )
        values = {"old": old, "new": new, "start": len(old) + 1, "length": len(old)}
        if old != new:
            self._connection.execute(text(moved), values)


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url, busy_timeout_s=_BUSY_TIMEOUT_S)
    try:
        database.migrate()
        yield database
    finally:
        database.engine.dispose()


def _require_empty(database: Database, settings: Settings) -> None:
    with database.engine.connect() as connection:
        filled = tables.filled_tables(connection)
    if any(spool_folder(settings).glob("*")):
        filled.append(f"the folder {spool_folder(settings)}")
    if filled:
        raise StoreError(
            f"This installation is not empty: see {', '.join(filled)}. A backup is restored into a new one only:"
            " set DATABASE_URL, BLOB_URL and ARGENSEG_DATA_DIR to places that are empty."
        )


def _files(archive: tarfile.TarFile) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    for member in (member for member in archive if not member.isdir()):
        path, file = PurePosixPath(member.name), archive.extractfile(member)
        if file is None or path.is_absolute() or ".." in path.parts:
            raise StoreError(f"The backup holds {member.name!r}, which is no file of ours. Nothing was restored.")
        yield path, file
        archive.members.clear()  # type: ignore[attr-defined]  # of a stream nobody asks for what was before


def _read_manifest(members: Iterator[tuple[PurePosixPath, IO[bytes]]]) -> dict[str, Any]:
    path, file = next(members, (None, None))
    if file is None or str(path) != _MANIFEST:
        raise ValueError(f"it does not begin with {_MANIFEST}")
    manifest: dict[str, Any] = json.load(file)
    if manifest["format"] != _FORMAT:
        raise StoreError(
            f"The backup's format is {manifest['format']}, ours {_FORMAT}. Install the version that made it."
        )
    return manifest


def _write_spool(archive: tarfile.TarFile, folder: Path) -> int:
    count = 0
    for file in sorted(folder.glob("*")):
        try:
            content = file.read_bytes()
        except FileNotFoundError:  # stored meanwhile: it will be in the tables
            continue
        if file.suffix != ".tmp":
            tables.add_bytes(archive, f"{_SPOOL}/{file.name}", content)
            count += 1
    return count


def _write_models(archive: tarfile.TarFile, connection: Connection, data_dir: Path) -> int:
    """Those fine-tuned models that are in the data folder: others are where they were."""
    count = 0
    for folder in map(Path, connection.scalars(text("SELECT folder FROM model_versions ORDER BY id"))):
        if folder.is_relative_to(data_dir) and folder.is_dir():
            archive.add(folder, f"{_MODELS}/{folder.relative_to(data_dir)}", filter=_files_only)
            count += 1
    return count


def _files_only(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return info if info.isfile() or info.isdir() else None


def _write_file(path: Path, content: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        while chunk := content.read(1024**2):
            file.write(chunk)
