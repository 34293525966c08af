"""What annotators corrected, region by region."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, or_, select

from labeling.store.annotations.records import CorrectionFilter, CorrectionRecord
from labeling.store.annotations.states import AnnotationStore
from labeling.store.annotations.tables import AnnotationRow, CorrectionRow
from labeling.store.blobs import BlobStore
from labeling.store.database import Database
from labeling.store.events import EventRow
from labeling.store.exclusions import is_excluded
from labeling.store.projects import Project


@dataclass
class CorrectionStore:
    """Corrections; chosen by way of their annotations."""

    database: Database
    blobs: BlobStore
    annotations: AnnotationStore

    def find(self, chosen: CorrectionFilter) -> list[CorrectionRecord]:
        """The corrections of `AnnotationStore.find`."""
        return [correction for annotation in self.annotations.find(chosen) for correction in annotation.corrections]

    def of_project(self, project_id: int | None = None, *, with_history: bool = False) -> list[CorrectionRecord]:
        """Corrections of one Label Studio project or of all, as the newest state of each annotation has them."""
        return self.find(CorrectionFilter(project_id=project_id, with_history=with_history))

    def count(self, project: Project, since: datetime | None = None) -> int:
        """How many corrections a project has that teach something, of all or of annotations that changed since then.

        These are the regions that an annotator edited, deleted or added, in the newest state of each submitted
        annotation; not accepted ones, and not what is excluded.
        """
        query = (
            select(func.count(CorrectionRow.id))
            .join(AnnotationRow, CorrectionRow.annotation_row_id == AnnotationRow.id)
            .join(EventRow, AnnotationRow.event_id == EventRow.id)
            .where(
                AnnotationRow.project_row_id == project.id,
                AnnotationRow.is_current,
                CorrectionRow.__table__.c.kind != "accepted",
            )
            .where(~is_excluded())
        )
        if since is not None:  # by when we made something of it: a webhook may come late
            query = query.where(or_(EventRow.processed_at.is_(None), EventRow.processed_at >= since))
        with self.database.reading() as session:
            return session.scalar(query) or 0

    def read_mask(self, digest: str) -> NDArray[np.bool_]:
        """A correction's mask, bool (height, width). StoreError if the blob is missing or damaged."""
        return self.blobs.get_mask(digest)
