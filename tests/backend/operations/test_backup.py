"""Backups: whole, made while others write, restored only into what is empty."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, insert, select, text

from backend.operations import backup
from backend.operations.backup import restore_backup, write_backup
from labeling.errors import StoreError
from labeling.settings import Settings
from labeling.store import Store
from labeling.store.blobs import BlobStore
from labeling.store.database import Database
from worker.events.spool import spool_folder, write_event

POSTGRESQL = os.environ.get("ARGENSEG_TEST_POSTGRESQL_URL", "")
NOW = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)
PROJECT = {"label_studio_url": "http://ls", "project_id": 3, "label_config": "<View/>", "created_at": NOW}
EVENT = {"action": "A", "payload": {"text": "ä\ud83d", "n": [1, None]}, "received_at": NOW, "processed_at": None}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return an_installation(tmp_path / "old")


def an_installation(folder: Path, **options: Any) -> Settings:
    """With a store that is migrated and empty."""
    settings = Settings(data_dir=folder, label_studio_url="http://ls", **options)
    Store.open(settings.database_url, settings.blob_url).close()
    return settings


def add(settings: Settings, table: str, **row: Any) -> None:
    with Database(settings.database_url, busy_timeout_s=5).writing() as session:
        metadata = MetaData()
        metadata.reflect(session.connection())
        session.execute(insert(metadata.tables[table]).values(**row))


def rows(settings: Settings, table: str) -> list[dict[str, Any]]:
    with Database(settings.database_url, busy_timeout_s=5).reading() as session:
        metadata = MetaData()
        metadata.reflect(session.connection())
        return [row._asdict() for row in session.execute(select(metadata.tables[table]).order_by(text("id")))]


def backed_up(settings: Settings) -> io.BytesIO:
    stream = io.BytesIO()
    write_backup(settings, stream)
    stream.seek(0)
    return stream


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """With a project, an event, a mask, an event in the spool, and a fine-tuned model."""
    model = settings.data_dir / "finetune" / "run-1" / "model"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    add(settings, "projects", **PROJECT)
    add(settings, "events", **EVENT)
    add(settings, "model_versions", name="m-1", folder=str(model), parent="starter", state="ready", created_at=NOW)
    BlobStore(settings.blob_url).put(b"a mask")
    write_event(spool_folder(settings), "ANNOTATION_CREATED", {"later": True})
    return settings


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Another installation, in a folder and a database of its own."""
    if request.param == "sqlite":
        yield an_installation(tmp_path / "new")
    elif not POSTGRESQL:
        pytest.skip("needs ARGENSEG_TEST_POSTGRESQL_URL: a database that it may empty")
    else:
        with create_engine(POSTGRESQL).begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        yield an_installation(tmp_path / "new", database_url=POSTGRESQL)


def test_a_backup_brings_everything_into_an_empty_installation(filled: Settings, empty: Settings) -> None:
    if POSTGRESQL:  # which has no half of a pair of surrogates
        with Database(filled.database_url, busy_timeout_s=5).writing() as session:
            session.execute(text("UPDATE events SET payload = '{\"n\": [1, null]}'"))
    summary = restore_backup(empty, backed_up(filled))
    assert (summary.rows, summary.blobs, summary.spooled, summary.models) == (3, 1, 1, 1)
    for table in ("projects", "events"):
        old, new = rows(filled, table), rows(empty, table)
        for row in (*old, *new):
            row.update({name: value.replace(tzinfo=UTC) for name, value in row.items() if isinstance(value, datetime)})
        assert new == old
    [model] = rows(empty, "model_versions")
    assert Path(model["folder"]) == empty.data_dir / "finetune" / "run-1" / "model"
    assert (Path(model["folder"]) / "model.safetensors").read_bytes() == b"weights"
    [digest] = BlobStore(empty.blob_url).digests()
    assert BlobStore(empty.blob_url).get(digest) == b"a mask"
    [event] = spool_folder(empty).glob("*.json")
    assert json.loads(event.read_text())["payload"] == {"later": True}


def test_new_rows_get_new_numbers_after_a_restore(filled: Settings, empty: Settings) -> None:
    if POSTGRESQL:
        with Database(filled.database_url, busy_timeout_s=5).writing() as session:
            session.execute(text("UPDATE events SET payload = '{}'"))
    restore_backup(empty, backed_up(filled))
    add(empty, "events", action="B", payload={}, received_at=NOW)
    assert [row["id"] for row in rows(empty, "events")] == [1, 2]


def test_nothing_stays_null_by_being_json(filled: Settings, tmp_path: Path) -> None:
    new = an_installation(tmp_path / "new")
    restore_backup(new, backed_up(filled))
    with Database(new.database_url, busy_timeout_s=5).reading() as session:
        assert session.scalar(text("SELECT count(*) FROM model_versions WHERE report IS NULL")) == 1


@pytest.mark.parametrize("holds", ["a row", "an event in the spool"])
def test_an_installation_that_is_not_empty_is_left_alone(filled: Settings, tmp_path: Path, holds: str) -> None:
    used = an_installation(tmp_path / "used")
    if holds == "a row":
        add(used, "projects", **PROJECT)
    else:
        write_event(spool_folder(used), "B", {})
    with pytest.raises(StoreError, match="not empty"):
        restore_backup(used, backed_up(filled))
    assert rows(used, "events") == []


def test_a_cut_backup_leaves_the_database_empty(filled: Settings, tmp_path: Path) -> None:
    content = backed_up(filled).getvalue()
    new = an_installation(tmp_path / "new")
    for length in (0, 10, len(content) // 2, len(content) - 20):
        with pytest.raises(StoreError, match="Nothing was restored"):
            restore_backup(new, io.BytesIO(content[:length]))
        assert rows(new, "projects") == []
    restore_backup(new, io.BytesIO(content))  # nothing of the cut ones is in its way
    assert len(rows(new, "projects")) == len(rows(filled, "projects"))


@pytest.mark.parametrize("name", ["/etc/passwd", "models/../../x", "tables/nothing/0.jsonl"])
def test_a_file_that_is_not_ours_is_refused(filled: Settings, tmp_path: Path, name: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=backed_up(filled)) as old, tarfile.open(fileobj=stream, mode="w:gz") as new:
        for member in old:
            if member.name == "end.json":
                new.addfile(tarfile.TarInfo(name), io.BytesIO())
            new.addfile(member, old.extractfile(member))
    stream.seek(0)
    with pytest.raises(StoreError):
        restore_backup(an_installation(tmp_path / "new"), stream)


def test_a_backup_of_a_newer_argenseg_is_refused(
    filled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(Database, "schema_revision", lambda _: "9999")
        stream = backed_up(filled)
    with pytest.raises(StoreError, match="does not know"):
        restore_backup(an_installation(tmp_path / "new"), stream)


def test_a_backup_holds_what_was_there_at_one_moment(
    filled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tables = backup.tables.write_tables

    def write_while_others_write(archive: tarfile.TarFile, connection: Any) -> dict[str, int]:
        connection.execute(text("SELECT count(*) FROM projects"))  # the moment
        add(filled, "events", action="B", payload={}, received_at=NOW)
        return write_tables(archive, connection)

    monkeypatch.setattr(backup.tables, "write_tables", write_while_others_write)
    new = an_installation(tmp_path / "new")
    restore_backup(new, backed_up(filled))
    assert len(rows(filled, "events")) == 2
    assert len(rows(new, "events")) == 1


def test_an_event_that_is_stored_meanwhile_is_not_lost(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    [event] = spool_folder(filled).glob("*.json")
    read = Path.read_bytes

    def drained(path: Path) -> bytes:
        content = read(path)
        if path == event:
            add(filled, "events", action="B", payload={}, received_at=NOW)
            path.unlink()
        return content

    monkeypatch.setattr(Path, "read_bytes", drained)
    summary = write_backup(filled, io.BytesIO())
    assert (summary.spooled, summary.rows) == (1, 4)
