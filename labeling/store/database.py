"""Connections to the database: SQLite in WAL mode or PostgreSQL, brought to the newest schema under a lock."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from pydantic_core import to_json
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from labeling.errors import RefusedByStore, StoreError, StoreMissing

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATION_WAIT_S = 120.0
_ROOM_BYTES = 4_000_000  # a write-ahead log grows to that before it is emptied
_MIGRATION_LOCK = 0x61726773  # an arbitrary number for PostgreSQL's advisory lock: "args"
_LIBPQ_OPTIONS = {  # a host that answers no more is given up in seconds; by itself TCP takes a quarter of an hour
    "connect_timeout": 5,  # s
    "tcp_user_timeout": 10_000,  # ms until what was sent must have arrived
    "keepalives_idle": 20,  # s without a word, until we ask whether it is still there
    "keepalives_interval": 5,
}


class Database:
    """Sessions on one database. `busy_timeout_s` is how long a write waits for another one's end."""

    def __init__(self, url: str, *, busy_timeout_s: float) -> None:
        """Nothing is connected yet; a SQLite file's folder is made. StoreError for a URL that cannot be used."""
        self.engine = _create_engine(url, busy_timeout_s)
        self._read = sessionmaker(self.engine, expire_on_commit=False)
        self._write = sessionmaker(self.engine.execution_options(writes=True), expire_on_commit=False)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for queries; errors become StoreError."""
        with _store_errors(), self._read.begin() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that commits at the end. On SQLite it takes the write lock at once: what it reads stays true."""
        with _store_errors(), self._write.begin() as session:
            yield session

    def empty_log(self) -> None:
        """Move what was written to its place, so that SQLite's write-ahead log holds nothing that was deleted.

        Where somebody reads just now, the log is emptied later, when it has grown.
        """
        if self.engine.dialect.name == "sqlite":
            with _store_errors(), closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def require_room(self) -> None:
        """StoreError if SQLite's disk has no room for what comes next. A server's disk is not ours to look at."""
        if self.engine.dialect.name == "sqlite":
            folder = Path(str(self.engine.url.database)).parent
            if shutil.disk_usage(folder).free < _ROOM_BYTES:
                raise StoreError(f"The disk of {folder} is full. Free some space.", is_transient=True)

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema to the newest revision, or up to another. Any number of processes may call this at once."""
        from alembic import command  # here and below: it takes as long as all the rest of a process's start
        from alembic.util import CommandError

        config = _alembic_config()
        try:
            with _store_errors(), self._migration_lock(), self.engine.connect() as connection:
                config.attributes["connection"] = connection.execution_options(writes=True)
                command.upgrade(config, revision)
        except CommandError as error:
            advice = "It is of a newer argenseg: update this one. (Or of one before the first release: 0001 to 0009.)"
            raise StoreError(f"The database cannot be used ({error}). {advice}") from error

    def schema_revision(self) -> str:
        """The newest migration that ran."""
        with self.reading() as session:
            return str(session.scalar(text("SELECT version_num FROM alembic_version")))

    def knows_revision(self, revision: str) -> bool:
        """Whether there is a migration of this name."""
        from alembic.script import ScriptDirectory

        return any(
            script.revision == revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions()
        )

    @contextmanager
    def _migration_lock(self) -> Iterator[None]:
        if self.engine.dialect.name == "sqlite":
            try:
                with FileLock(f"{self.engine.url.database}.lock", timeout=_MIGRATION_WAIT_S):
                    yield
            except Timeout:
                raise StoreError("Another process has been migrating the database for minutes. Is it stuck?") from None
        else:
            with self.engine.begin() as connection:
                connection.execute(text(f"SET LOCAL lock_timeout = '{_MIGRATION_WAIT_S:.0f}s'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
                yield  # the lock ends with the transaction


def require_database(url: str) -> None:
    """StoreMissing if there is no database of ours at this URL, StoreError if it cannot be looked at."""
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        file = Path(parsed.database or "")
        if not file.is_file() or not file.stat().st_size:
            raise StoreMissing(f"There is no store at {file}.")
        return
    engine = _create_server_engine(parsed, busy_timeout_s=1.0)
    try:
        with _store_errors():
            if not inspect(engine).has_table("alembic_version"):
                raise StoreMissing(f"There is no store in the database {parsed.render_as_string(hide_password=True)}.")
    finally:
        engine.dispose()


def _alembic_config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def to_json_text(value: Any) -> str:
    """For JSON columns: an annotation of many brush regions is tens of megabytes, slow for json.dumps."""
    try:
        return to_json(value).decode()
    except ValueError:  # a lone surrogate, which a browser can send
        return json.dumps(value)


def _create_engine(url: str, busy_timeout_s: float) -> Engine:
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        return _create_server_engine(parsed, busy_timeout_s)
    try:
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"The database cannot be used: {error}. Check DATABASE_URL.") from error
    engine = create_engine(parsed, connect_args={"timeout": busy_timeout_s}, json_serializer=to_json_text)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:  # its text, and what it came from, may hold the password
        raise StoreError("DATABASE_URL is no database's URL, such as postgresql://user:password@host/name.") from None
    if parsed.get_backend_name() == "sqlite" and (not parsed.database or parsed.database == ":memory:"):
        raise StoreError("DATABASE_URL must name a file, such as sqlite:////data/argenseg.db.")
    return parsed


def _create_server_engine(url: URL, busy_timeout_s: float) -> Engine:
    """What the URL itself says of timeouts goes first. No statement is limited: a large event may take its time.

    StoreError if its driver is not installed.
    """
    options: dict[str, int] = {}
    try:
        if url.get_driver_name() in ("psycopg", "psycopg2"):
            options = {name: value for name, value in _LIBPQ_OPTIONS.items() if name not in url.query}
        engine = create_engine(url, connect_args=options, pool_pre_ping=True, json_serializer=to_json_text)
    except ImportError as error:
        advice = 'Install its driver: pip install "argenseg-labeling[postgresql]".'
        raise StoreError(f"The database of DATABASE_URL cannot be used: {error}. {advice}") from error
    except ArgumentError:  # such as a kind of database that nobody knows
        raise StoreError("DATABASE_URL is no database's URL, such as postgresql://user:password@host/name.") from None
    if url.get_backend_name() == "postgresql":
        event.listen(engine, "connect", partial(_limit_lock_waits, busy_timeout_s))
    return engine


def _limit_lock_waits(busy_timeout_s: float, connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = {round(1000 * busy_timeout_s)}")
    cursor.close()
    connection.commit()


def _configure_sqlite(connection: SqliteConnection, _: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see below
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")  # what is erased on request is overwritten
    connection.execute("PRAGMA synchronous=FULL")  # an answered webhook survives a power cut


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that starts as a read and then writes fails at once if another one wrote meanwhile: lock first."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise RefusedByStore(f"The database does not take a value: {error.orig}.") from error
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise StoreError(
            f"The database failed: {reason}. Check DATABASE_URL, its free space and its rights.",
            is_transient=isinstance(error, OperationalError),
        ) from error
