"""Which side each image is on, and the data sets that were made."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select, text

from labeling.errors import StoreError
from labeling.store.blobs import BlobStore
from labeling.store.correction_records import DataSetRecord, ImageSplit
from labeling.store.correction_tables import DataSetRow, ImageSplitRow
from labeling.store.database import Database

Placing = Callable[[Sequence[ImageSplit]], Sequence[ImageSplit]]


class DataSetStore:
    """The part of `Store` that is about data sets."""

    _database: Database
    _blobs: BlobStore

    def place_images(self, placing: Placing) -> dict[str, ImageSplit]:
        """Let `placing` see all images that have a side, and add to them. Returns all, by SHA-256.

        One process at a time.
        StoreError if it would change a side: that is drawn once.
        """
        with self._database.writing() as session:
            if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
                session.execute(text("LOCK TABLE image_splits IN EXCLUSIVE MODE"))
            query = select(ImageSplitRow).order_by(ImageSplitRow.created_at, ImageSplitRow.sha256)
            rows = {row.sha256: row for row in session.scalars(query)}
            for placed in placing([_split(row) for row in rows.values()]):
                row = rows.get(placed.sha256)
                if row is None:
                    row = rows[placed.sha256] = ImageSplitRow(**vars(placed))
                    session.add(row)
                if row.side != placed.side:
                    raise StoreError(f"Image {placed.sha256} is on the side {row.side}, and stays there.")
                row.group = placed.group
            return {sha256: _split(row) for sha256, row in rows.items()}

    def save_data_set(self, digest: str, manifest: bytes, parent_digest: str | None, lineage: dict[str, Any]) -> None:
        """Keep a data set's manifest and where it comes from; one that was made before stays as it is."""
        manifest_blob = self._blobs.put(manifest)
        with self._database.writing() as session:
            if session.scalar(select(DataSetRow).filter_by(digest=digest)) is None:
                facts = lineage | {"manifest_blob": manifest_blob}
                session.add(DataSetRow(digest=digest, parent_digest=parent_digest, lineage=facts))

    def list_data_sets(self) -> list[DataSetRecord]:
        """All, the oldest first."""
        with self._database.reading() as session:
            return [
                DataSetRecord(row.digest, row.parent_digest, row.lineage, row.created_at)
                for row in session.scalars(select(DataSetRow).order_by(DataSetRow.id))
            ]

    def keep_image(self, content: bytes) -> str:
        """Keep an image's file for good, beyond what the image cache does, and return its SHA-256."""
        return self._blobs.put(content)

    def holds_image(self, sha256: str) -> bool:
        """Whether an image's file is kept."""
        return self._blobs.holds(sha256)

    def read_image(self, sha256: str) -> bytes:
        """A kept image's file. StoreError if it is not there."""
        return self._blobs.get(sha256)


def _split(row: ImageSplitRow) -> ImageSplit:
    return ImageSplit(row.sha256, row.perceptual_hash, row.group, row.side)
