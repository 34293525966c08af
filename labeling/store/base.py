"""The tables. Times are UTC; masks are named by the SHA-256 of their PNG in the blob folder."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import JSON, ColumnElement, DateTime, Dialect, Text, TypeDecorator, or_
from sqlalchemy.orm import DeclarativeBase

CLOCK_AHEAD = timedelta(minutes=5)
"""Nobody's clock is so far ahead but one that is wrong."""


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


def is_older(column: Any, seconds: float) -> ColumnElement[bool]:
    """Whether a time lies so many seconds back, or ahead of our clock by more than CLOCK_AHEAD: then a clock was wrong
    when it was written, and nobody knows how old it is.
    """
    now = utc_now()
    return or_(column <= now - timedelta(seconds=seconds), column > now + CLOCK_AHEAD)


def is_leased(until: datetime | None, lease_s: float) -> bool:
    """Whether a lease that is renewed for `lease_s` holds: one that ends later than it could was written by a clock
    that was wrong.
    """
    return until is not None and utc_now() < until <= utc_now() + timedelta(seconds=lease_s) + CLOCK_AHEAD


class Base(DeclarativeBase):
    """What the tables share: which Python type is which column type."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        str: Text,
        dict[str, Any]: JSON(none_as_null=True),
        list[dict[str, Any]]: JSON(none_as_null=True),
    }
