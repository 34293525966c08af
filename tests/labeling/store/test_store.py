import multiprocessing
import sqlite3
from pathlib import Path
from traceback import format_exception

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from labeling.errors import StoreError
from labeling.store import Store
from labeling.store.base import Base


def open_and_write(folder: str, number: int, start) -> None:
    start.wait()
    with Store.open(f"sqlite:///{folder}/new/argenseg.db", f"{folder}/blobs") as store:
        store.projects.upsert("http://label-studio", 1, f"config {number}")
        for _ in range(5):
            store.events.record("ANNOTATION_CREATED", {"process": number})


def test_many_processes_open_a_fresh_folder_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    processes = [context.Process(target=open_and_write, args=(str(tmp_path), number, start)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with Store.open(f"sqlite:///{tmp_path}/new/argenseg.db", f"{tmp_path}/blobs") as store:
        assert len(store.events.unprocessed(0)) == 15
        assert store.projects.find(1) is not None


def test_the_migrations_make_the_tables(store: Store) -> None:
    with store.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_missing_driver_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"MySQLdb.*argenseg-labeling\[postgresql\]"):
        Store.open("mysql://localhost/argenseg", str(tmp_path))


def test_sqlite_is_durable_and_concurrent(sqlite_file: Path, store: Store) -> None:
    with sqlite3.connect(sqlite_file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with store.database.reading() as session:
        pragmas = [
            session.connection().exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "foreign_keys")
        ]
    assert pragmas == [2, 1]


def test_opening_again_keeps_what_is_there(sqlite_file: Path, tmp_path: Path, store: Store) -> None:
    project = store.projects.upsert("http://label-studio/", 1, "<View/>")
    store.close()
    with Store.open(f"sqlite:///{sqlite_file}", str(tmp_path / "blobs")) as again:
        assert again.projects.find(1) == project
        assert project.label_studio_url == "http://label-studio"


def test_a_database_of_a_newer_argenseg(sqlite_file: Path, tmp_path: Path) -> None:
    with sqlite3.connect(sqlite_file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer"):
        Store.open(f"sqlite:///{sqlite_file}", str(tmp_path / "blobs"))


@pytest.mark.parametrize(
    "url",
    ["", "no url", "sqlite://", "sqlite:///:memory:", "unheard-of://host/db", "sqlite:////proc/nowhere/argenseg.db"],
)
def test_databases_that_cannot_be_used(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreError, match="DATABASE_URL"):
        Store.open(url, str(tmp_path / "blobs"))


def test_a_database_url_is_not_shown_with_its_password(tmp_path: Path) -> None:
    password = "".join(["hunter", "2"])  # a traceback quotes this line
    with pytest.raises(StoreError) as error:
        Store.open(f"postgresql//user:{password}@host/db", str(tmp_path / "blobs"))
    assert password not in "".join(format_exception(error.value))


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "argenseg.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="DATABASE_URL"):
        Store.open(f"sqlite:///{tmp_path}/argenseg.db", str(tmp_path / "blobs"))


def test_label_studio_moves_with_all_that_was_collected(store: Store, tmp_path: Path) -> None:
    before, other = "http://localhost:8080", "http://other"
    for url in (before, other):
        store.projects.upsert(url, 3, "<View/>")
    store.projects.upsert(before, 4, "<View/>")
    event_id = store.events.record("X", {}, label_studio_url=before)
    kept = store.projects.find(3, before)
    lineage = {"annotations": [], "options": {"project_id": 3, "label_studio_url": before}}
    manifest = tmp_path / "manifest.jsonl"
    manifest.touch()
    store.datasets.save("ab", manifest, None, lineage)
    assert [each.project_id for each in store.projects.move(f"{before}/", "https://ls.example.com/")] == [3, 4]
    assert store.projects.of_address(before) == []
    moved = store.projects.find(3, "https://ls.example.com")
    assert moved is not None and kept is not None and moved.id == kept.id
    assert len(store.projects.of_address(other)) == 1
    assert store.events.get(event_id).label_studio_url == "https://ls.example.com"
    (made,) = store.datasets.all()
    assert made.lineage["options"] == {"project_id": 3, "label_studio_url": "https://ls.example.com"}


def test_projects_of_the_same_number_are_not_joined(store: Store) -> None:
    store.projects.upsert("http://a", 3, "<View/>")
    store.projects.upsert("http://a", 4, "<View/>")
    store.projects.upsert("http://b", 3, "<View/>")
    with pytest.raises(StoreError, match=r"http://b has a project 3 too.*http://b/new"):
        store.projects.move("http://a", "http://b")
    assert len(store.projects.of_address("http://a")) == 2
    with pytest.raises(StoreError, match=r"no project of http://c\. There are some of: http://a, http://b\."):
        store.projects.move("http://c", "http://b")
    store.projects.move("http://b", "http://b/new")  # what the message advises
    assert len(store.projects.move("http://a", "http://b")) == 2
    assert len(store.projects.move("http://b", "http://b")) == 2


def test_a_project_keeps_its_newest_config(store: Store) -> None:
    first = store.projects.upsert("http://a", 1, "<View/>")
    assert store.projects.upsert("http://a/", 1, "<View>2</View>").id == first.id
    assert store.projects.upsert("http://b", 1, "<View/>").id != first.id
    found = store.projects.find(1, "http://a/")
    assert found is not None
    assert found.label_config == "<View>2</View>"
    assert store.projects.find(2) is None
    assert store.projects.find(1, "http://c") is None
