"""Back up a store while it is used, and restore it: tables as JSON lines and blobs, one after another in a tar archive.

Both work on the tables as the database itself tells them, SQLite or PostgreSQL: what the one wrote the other reads.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Connection, DateTime, Integer, MetaData, Table, func, insert, select

from labeling.errors import StoreError
from labeling.store.blobs import BlobStore
from labeling.store.database import Database

TABLES, BLOBS = "tables", "blobs"  # folders in the archive

_REVISIONS = "alembic_version"
_NOT_COPIED = frozenset({_REVISIONS, "store_identity"})  # a restored store is another one
_ROWS_AT_A_TIME = 500
_PART_BYTES = 8 * 1024**2  # of one file of a table: that much is held in memory, and the largest row


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Put a file of this name and content at the archive's end."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o600
    archive.addfile(info, io.BytesIO(content))
    archive.members.clear()  # type: ignore[attr-defined]  # which tarfile keeps, and nobody asks a stream for


def write_tables(archive: tarfile.TarFile, connection: Connection) -> dict[str, int]:
    """Put all tables into the archive, as of one moment, and return how many rows each has.

    The connection is one of `snapshot`.
    """
    counts: dict[str, int] = {}
    for table in _tables(connection):
        order = list(table.primary_key)
        rows = connection.execution_options(yield_per=_ROWS_AT_A_TIME).execute(select(table).order_by(*order))
        counts[table.name] = 0
        for number, (part, count) in enumerate(_parts(row._asdict() for row in rows)):
            add_bytes(archive, f"{TABLES}/{table.name}/{number:06}.jsonl", part)
            counts[table.name] += count
    return counts


def write_blobs(archive: tarfile.TarFile, blobs: BlobStore) -> int:
    """Put all blobs into the archive and return their number. Write the tables first: what they name is then there."""
    count = 0
    for digest in blobs.digests():
        try:
            content = blobs.get(digest)
        except StoreError:
            if blobs.holds(digest):
                raise
            continue  # erased meanwhile
        add_bytes(archive, f"{BLOBS}/{digest}", content)
        count += 1
    return count


def snapshot(database: Database) -> Connection:
    """A connection on which all queries see the database as it was at the first of them. To be closed."""
    connection = database.engine.connect()
    if connection.dialect.name == "postgresql":  # SQLite's transactions are so by themselves
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
    return connection


def filled_tables(connection: Connection) -> list[str]:
    """The tables that hold rows."""
    return [table.name for table in _tables(connection) if connection.execute(select(table).limit(1)).first()]


def prepare(database: Database, revision: str) -> None:
    """Bring an EMPTY database to a backup's revision, older than ours or not. StoreError if we do not know it."""
    if database.schema_revision() == revision:
        return
    if not database.knows_revision(revision):
        raise StoreError(
            f"The backup has migration {revision}, which this argenseg does not know. Install the version that made it."
        )
    found = MetaData()
    found.reflect(database.engine)
    found.drop_all(database.engine)
    database.migrate(revision)


class TableReader:
    """Inserts what `write_tables` wrote, into the empty tables of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tables = {table.name: table for table in _tables(connection)}
        self.counts = dict.fromkeys(self._tables, 0)

    def insert(self, name: str, lines: Iterable[bytes]) -> None:
        """Insert one file's rows into table `name`. StoreError if there is no such table, or it does not take them."""
        table = self._tables.get(name)
        if table is None:
            raise StoreError(
                f"The backup holds a table {name} that is not known here. Was it made by another argenseg?"
            )
        rows = [_decode(table, json.loads(line)) for line in lines]
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            self._connection.execute(insert(table), rows[start : start + _ROWS_AT_A_TIME])
        self.counts[name] += len(rows)

    def finish(self) -> None:
        """Let new rows begin behind the last one: PostgreSQL counts apart from the rows."""
        if self._connection.dialect.name != "postgresql":
            return
        for table in self._tables.values():
            for column in table.primary_key:
                if isinstance(column.type, Integer) and not column.foreign_keys and self.counts[table.name]:
                    sequence = func.pg_get_serial_sequence(table.name, column.name)
                    last = select(func.max(column)).scalar_subquery()
                    self._connection.execute(select(func.setval(sequence, last)))


def _tables(connection: Connection) -> list[Table]:
    """All tables that hold what people did, those that others refer to first."""
    metadata = MetaData()
    metadata.reflect(connection)
    tables = [table for table in metadata.sorted_tables if table.name not in _NOT_COPIED]
    for column in (column for table in tables for column in table.columns):
        if isinstance(column.type, JSON):
            column.type.none_as_null = True
    return tables


def _parts(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[bytes, int]]:
    """Rows as JSON lines, some megabytes at a time, each with the number of its rows."""
    lines: list[bytes] = []
    size = 0
    for row in rows:
        lines.append(json.dumps(row, default=_encode).encode() + b"\n")
        size += len(lines[-1])
        if size >= _PART_BYTES:
            yield b"".join(lines), len(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines), len(lines)


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    raise StoreError(f"A backup cannot hold a {type(value).__name__}. This is a bug of argenseg: please report it.")


def _decode(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    times = {name for name in row if isinstance(table.columns[name].type, DateTime)}
    return {
        name: datetime.fromisoformat(value) if name in times and value is not None else value
        for name, value in row.items()
    }
