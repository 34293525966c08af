"""Databases that people have open with the newest code, and nothing in them is lost."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, inspect, select, text

from labeling.store import FinetuneSchedule, RunOptions, Store, migrations
from labeling.store.database import Database

REVISION_0010 = Path(__file__).parents[2] / "fixtures" / "store" / "revision_0010.sql"
NEWEST = max(file.name[:4] for file in Path(migrations.__file__).parent.glob("versions/0*.py"))
TABLES = {"reviews": "annotations", "prediction_runs": "project_runs", "live_models": "active_models"}
NEW_TABLES: dict[str, list[dict[str, Any]]] = {"actions": [], "prompt_trials": [], "prompt_trial_tasks": []}
NEW_COLUMNS: dict[str, dict[str, Any]] = {
    "events": {"attempts": 0},
    "projects": {"title": None, "task_count": None},
    "exclusions": {"who": None},
    "task_images": {"kept": False},
}
COLUMNS = {
    ("corrections", "review_id"): "annotation_row_id",
    ("prediction_runs", "wanted"): "requested",
    ("live_models", "live_since"): "active_since",
}
STATUSES = {"wanted": "requested", "held_back": "postponed_for_draft"}
Rows = dict[str, list[dict[str, Any]]]


def sqlite_database(file: Path) -> Engine:
    """The fixture's database, anew."""
    with sqlite3.connect(file) as connection:
        connection.executescript(REVISION_0010.read_text())
    return create_engine(f"sqlite:///{file}")


@pytest.fixture
def old_engine(tmp_path: Path) -> Engine:
    """The fixture's database, as it stays."""
    return sqlite_database(tmp_path / "old.db")


@pytest.fixture
def old_url(database_url: str, old_engine: Engine, tmp_path: Path) -> str:
    """To be migrated: the same once more or, on PostgreSQL, its rows in tables of its revision."""
    if database_url.startswith("sqlite"):
        return str(sqlite_database(tmp_path / "argenseg.db").url)
    database = Database(database_url, busy_timeout_s=1)
    database.migrate("0010")
    with old_engine.connect() as source, database.engine.begin() as target:
        for table in tables(target):
            if rows := rows_of(source, table):
                target.execute(table.insert(), rows)
            if "id" in table.columns:  # rows that come later are numbered after these
                target.execute(text(f"SELECT setval('{table.name}_id_seq', {len(rows) + 1})"))
    database.engine.dispose()
    return database_url


@pytest.fixture
def migrated(old_url: str, tmp_path: Path, square: np.ndarray) -> Iterator[Store]:
    """The fixture's database, opened; of its masks only one is there."""
    with Store.open(old_url, str(tmp_path / "blobs")) as store:
        store.blobs.put_mask(square)
        yield store


def tables(connection: Connection) -> list[Table]:
    """All but Alembic's own, those that others refer to first."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


def rows_of(connection: Connection, table: Table) -> list[dict[str, Any]]:
    """In the order of their keys; times in UTC."""
    query = select(table).order_by(*table.primary_key.columns)
    return [{name: in_utc(value) for name, value in row.items()} for row in connection.execute(query).mappings()]


def in_utc(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def all_rows(connection: Connection) -> Rows:
    return {table.name: rows_of(connection, table) for table in tables(connection)}


def renamed(table: str, row: dict[str, Any]) -> dict[str, Any]:
    row = NEW_COLUMNS.get(table, {}) | {COLUMNS.get((table, name), name): value for name, value in row.items()}
    return row | ({"status": STATUSES.get(row["status"], row["status"])} if "status" in row else {})


def test_every_row_of_revision_0010_is_found_again_under_its_new_name(old_engine: Engine, migrated: Store) -> None:
    with old_engine.connect() as connection:
        before = all_rows(connection)
    with migrated.database.engine.connect() as connection:
        after = all_rows(connection)
    expected = {TABLES.get(name, name): [renamed(name, row) for row in rows] for name, rows in before.items()}
    assert all(expected.values()), "every table has rows"
    assert [len(row["id"]) for row in after.pop("store_identity")] == [32]
    assert after == expected | NEW_TABLES


def test_the_store_reads_what_revision_0010_wrote(migrated: Store, square: np.ndarray) -> None:
    project, other = migrated.projects.all()
    assert (project.project_id, project.shown_version, other.shown_version) == (1, "starter-1 · a1b2c3", None)
    statuses = {
        migrated.predictions.get(number).task_id: migrated.predictions.get(number).status for number in range(1, 11)
    }
    assert statuses == {
        1: "requested", 2: "requested", 3: "ready", 4: "published", 5: "published", 6: "failed",
        7: "postponed_for_draft", 8: "pruned", 9: "cancelled", 10: "delivered",
    }  # fmt: skip
    (held,) = migrated.predictions.postponed_for_draft(project, "starter-1 · a1b2c3")
    assert held.task_id == 7
    run = migrated.project_runs.find_open(project)
    assert run is not None and (run.requested, run.options) == (9, RunOptions(True, 50, True))
    assert [each.reason for each in migrated.progress.delayed_tasks(project)] == ["Label Studio does not answer."]

    skipped, annotation = migrated.annotations.find()
    assert (skipped.state, annotation.annotation_id, len(annotation.asked)) == ("skipped", 11, 2)
    edited, added = annotation.corrections
    assert (edited.kind, edited.iou, edited.prompt, added.vertices_after) == ("edited", 0.47, "red", 4)
    assert np.array_equal(migrated.corrections.read_mask(edited.mask_before or ""), square)
    assert migrated.corrections.count(project) == 2, "one is excluded"
    assert migrated.erasure.erased(project).annotators == {9}
    assert annotation.image_sha256 == migrated.images.of_tasks(project, [4])[4].sha256

    active = migrated.models.active(project)
    assert active is not None and (active.name, active.report) == ("starter-1.1", {"better": True, "ciou": 0.71})
    assert [run.status for run in migrated.finetunes.newest()] == [
        "requested", "running", "requested", "stopped", "failed", "refused", "promoted",
    ]  # fmt: skip
    assert migrated.finetunes.find_schedule(other) == FinetuneSchedule(None, 50)
    assert [len(each.digest) for each in migrated.datasets.all()] == [64, 64]


def test_what_refers_to_a_renamed_table_still_does(migrated: Store) -> None:
    project = migrated.projects.all()[0]
    migrated.erasure.erase(project, "annotation", 11, "asked for")
    assert migrated.corrections.of_project(1, with_history=True) == []
    turn = migrated.syncs.begin(project, lease_s=60)
    assert turn is not None and turn.full_synced_at is None
    assert migrated.events.get(1).received_at < datetime.now(UTC) + timedelta(days=1)


def test_the_one_revision_makes_the_tables_of_the_ten(tmp_path: Path, old_engine: Engine) -> None:
    database = Database(f"sqlite:///{tmp_path}/new.db", busy_timeout_s=1)
    database.migrate("0010")
    assert schema(database.engine) == schema(old_engine)


def test_a_database_opens_where_it_was_left(database_url: str) -> None:
    database = Database(database_url, busy_timeout_s=1)
    for revision in ("0010", "head", "head"):
        database.migrate(revision)
    with database.reading() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == NEWEST
    database.engine.dispose()


def schema(engine: Engine) -> dict[str, Any]:
    """Tables, columns, keys, constraints and indexes, as the database itself reports them."""
    found = inspect(engine)
    return {
        name: {
            "columns": {each["name"]: str(each | {"type": str(each["type"])}) for each in found.get_columns(name)},
            "key": found.get_pk_constraint(name),
            "references": sorted(map(str, found.get_foreign_keys(name))),
            "unique": sorted(map(str, found.get_unique_constraints(name))),
            "indexes": sorted(
                (
                    str(each["name"]),
                    each["column_names"],
                    each["unique"],
                    str(each["dialect_options"].get("sqlite_where")),
                )
                for each in found.get_indexes(name)
            ),
        }
        for name in found.get_table_names()
    }
