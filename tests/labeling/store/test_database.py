"""A database that does not answer, or that somebody else writes to, is waited for so long and no longer."""

import socket
import time
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from labeling.errors import StoreError
from labeling.store import Store, database


def test_a_webhook_waits_for_another_writer_half_a_second(store: Store) -> None:
    began = time.monotonic()
    with store.database.writing() as session, pytest.raises(StoreError, match="lock") as raised:
        if session.connection().dialect.name == "postgresql":
            session.execute(text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
        store.events.record("ANNOTATION_CREATED", {})
    assert 0.4 < time.monotonic() - began < 2
    assert raised.value.is_transient


def test_a_postgresql_server_that_accepts_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database._LIBPQ_OPTIONS, "connect_timeout", 2)  # the least that libpq takes
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql+psycopg://me:secret@127.0.0.1:{server.getsockname()[1]}/argenseg"
        silent, began = database.Database(url, busy_timeout_s=0.5), time.monotonic()
        with pytest.raises(StoreError, match="timeout") as raised, silent.reading() as session:
            session.connection()
        assert time.monotonic() - began < 4
    assert raised.value.is_transient and "secret" not in str(raised.value)


@pytest.mark.parametrize("query", ["", "?connect_timeout=30", "?connect_timeout=30&tcp_user_timeout=0"])
def test_postgresql_is_given_up_in_seconds_unless_the_url_says_otherwise(
    query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the driver is given."""
    made: list[dict[str, Any]] = []

    def record(_: object, **options: Any) -> Engine:
        made.append(options["connect_args"])
        return create_engine("sqlite://")

    monkeypatch.setattr(database, "create_engine", record)
    database.Database(f"postgresql+psycopg://me@host/argenseg{query}", busy_timeout_s=0.5)
    defaults = {name: value for name, value in database._LIBPQ_OPTIONS.items() if name not in query}
    assert made == [defaults] and ("connect_timeout" in defaults) == (not query)
