"""Which side each image is on, and the data sets that were made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import String, insert, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from labeling.errors import StoreError
from labeling.store.base import Base, utc_now
from labeling.store.blobs import BlobStore
from labeling.store.database import Database


class ImageSplitRow(Base):
    """The side of an image, drawn once: by its content, together with all that look nearly the same."""

    __tablename__ = "image_splits"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    perceptual_hash: Mapped[str] = mapped_column(String(64))
    group: Mapped[str] = mapped_column("image_group", String(64), index=True)
    side: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class DataSetRow(Base):
    """An immutable data set: its manifest is the blob of this digest."""

    __tablename__ = "data_sets"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    parent_digest: Mapped[str | None] = mapped_column(String(64))
    lineage: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


@dataclass(frozen=True)
class ImageSplit:
    """An image's side ("train", "holdout", "quarantine") and the group of images that look nearly the same."""

    sha256: str
    perceptual_hash: str
    group: str
    side: str


@dataclass(frozen=True)
class DataSetRecord:
    """A data set that was made. `digest` is its manifest's, `lineage` says of what, and what was left out and why."""

    digest: str
    parent_digest: str | None
    lineage: dict[str, Any]
    created_at: datetime


_ROWS_AT_A_TIME = 1000

Placing = Callable[[Sequence[ImageSplit]], Sequence[ImageSplit]]


@dataclass
class DataSetStore:
    """Data sets, and the sides of their images."""

    database: Database
    blobs: BlobStore

    def place_images(self, placing: Placing) -> dict[str, ImageSplit]:
        """Let `placing` see all images that have a side, and add to them. Returns all, by SHA-256.

        One process at a time.
        StoreError if it would change a side: that is drawn once.
        """
        with self.database.writing() as session:
            if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
                session.execute(text("LOCK TABLE image_splits IN EXCLUSIVE MODE"))
            columns = (ImageSplitRow.sha256, ImageSplitRow.perceptual_hash, ImageSplitRow.group, ImageSplitRow.side)
            query = select(*columns).order_by(ImageSplitRow.created_at, ImageSplitRow.sha256)
            known = {row.sha256: ImageSplit(*row) for row in session.execute(query)}  # rows would take four times that
            new, changed = list[ImageSplit](), list[ImageSplit]()
            for placed in placing(list(known.values())):
                before = known.get(placed.sha256)
                if before is not None and before.side != placed.side:
                    raise StoreError(f"Image {placed.sha256} is on the side {before.side}, and stays there.")
                (new if before is None else changed).append(placed)
            for start in range(0, len(new), _ROWS_AT_A_TIME):
                session.execute(insert(ImageSplitRow), [vars(each) for each in new[start : start + _ROWS_AT_A_TIME]])
            for each in changed:
                row = update(ImageSplitRow).where(ImageSplitRow.sha256 == each.sha256)
                session.execute(row.values(group=each.group))
            return known | {each.sha256: each for each in (*new, *changed)}

    def save(self, digest: str, manifest: Path, parent_digest: str | None, lineage: dict[str, Any]) -> None:
        """Keep a data set's manifest (a file) and where it comes from; one that was made before stays as it is."""
        manifest_blob = self.blobs.put_file(manifest)
        with self.database.writing() as session:
            if session.scalar(select(DataSetRow).filter_by(digest=digest)) is None:
                facts = lineage | {"manifest_blob": manifest_blob}
                session.add(DataSetRow(digest=digest, parent_digest=parent_digest, lineage=facts))

    def all(self) -> list[DataSetRecord]:
        """All, the oldest first."""
        with self.database.reading() as session:
            return [
                DataSetRecord(row.digest, row.parent_digest, row.lineage, row.created_at)
                for row in session.scalars(select(DataSetRow).order_by(DataSetRow.id))
            ]
