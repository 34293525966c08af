"""The tables. Times are UTC; masks are named by the SHA-256 of their PNG in the blob folder."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, Dialect, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its zone: SQLite drops the zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc_now() -> datetime:
    """The default of every time column."""
    return datetime.now(UTC)


def in_pages(find: Callable[..., list[int]], size: int = 1000) -> Iterator[list[int]]:
    """What `find` finds, some ids at a time, each larger than those before: it takes `after` and `limit`."""
    after = 0
    while some := find(after=after, limit=size):
        yield some
        after = some[-1]


class Base(DeclarativeBase):
    """What the tables share: which Python type is which column type."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        str: Text,
        dict[str, Any]: JSON(none_as_null=True),
        list[dict[str, Any]]: JSON(none_as_null=True),
    }
