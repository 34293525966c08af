"""Which image a task shows, and its annotations were made on: by its content, as soon as somebody has fetched it."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from sqlalchemy import CursorResult, or_, select, update
from sqlalchemy.orm import Session

from labeling.store.blobs import BlobStore
from labeling.store.correction_records import TaskImage
from labeling.store.correction_tables import ReviewRow, TaskImageRow
from labeling.store.database import Database
from labeling.store.records import Project
from labeling.store.tables import ProjectRow


class TaskImageStore:
    """The part of `Store` that is about the images of tasks."""

    _database: Database
    _blobs: BlobStore

    def keep_task_image(self, project: Project, image: TaskImage, content: bytes, width: int, height: int) -> bool:
        """Keep the file of a task's image; False, and nothing is kept, if the task shows another image by now, or was
        erased.
        """
        digest = self._blobs.put(content)
        expected = update(TaskImageRow).where(
            TaskImageRow.project_row_id == project.id,
            TaskImageRow.task_id == image.task_id,
            TaskImageRow.reference == image.reference,
            or_(TaskImageRow.sha256.is_(None), TaskImageRow.sha256 == digest),
        )
        with self._database.writing() as session:
            kept = session.execute(expected.values(sha256=digest, width=width, height=height))
            if cast(CursorResult[Any], kept).rowcount:
                _remember_content(session, project, image.task_id, image.reference, digest)
                return True
            is_shown = session.scalar(select(TaskImageRow.id).filter_by(sha256=digest).limit(1)) is not None
        if not is_shown:
            self._blobs.delete(digest)
        return False

    def record_image(
        self,
        project: Project,
        task_id: int,
        reference: str,
        *,
        sha256: str | None = None,
        width: int | None = None,
        height: int | None = None,
    ) -> None:
        """Remember a task's image, and by the digest of its file what was in it the last time that it was fetched.

        Without a digest, one that is known stays, unless the reference is another one now.
        """
        known = self.images_of_tasks(project, [task_id]).get(task_id)
        if known is not None and known.reference == reference and sha256 in (None, known.sha256):
            return  # a write costs more than this read
        with self._database.writing() as session:
            session.get_one(ProjectRow, project.id, with_for_update=True)
            row = session.scalar(select(TaskImageRow).filter_by(project_row_id=project.id, task_id=task_id))
            if row is None:
                row = TaskImageRow(project_row_id=project.id, task_id=task_id, reference=reference)
                session.add(row)
            if sha256 is not None or row.reference != reference:
                row.sha256, row.width, row.height = sha256, width, height
            row.reference = reference
            if sha256 is not None:
                _remember_content(session, project, task_id, reference, sha256)

    def images_of_tasks(self, project: Project, task_ids: Iterable[int]) -> dict[int, TaskImage]:
        """The images of tasks by task id; tasks of which nothing is known are absent."""
        query = select(TaskImageRow).where(
            TaskImageRow.project_row_id == project.id, TaskImageRow.task_id.in_(list(task_ids))
        )
        with self._database.reading() as session:
            return {
                row.task_id: TaskImage(row.task_id, row.reference, row.sha256, row.width, row.height)
                for row in session.scalars(query)
            }


def remember_images(session: Session, project: Project, reviews: Sequence[ReviewRow]) -> None:
    """Say of new reviews which image they were made on: what the event said of it, or else what the task shows now."""
    task_ids = {review.task_id for review in reviews}
    query = select(TaskImageRow).where(TaskImageRow.project_row_id == project.id, TaskImageRow.task_id.in_(task_ids))
    shown = {row.task_id: row for row in session.scalars(query)}
    for review in reviews:
        image = shown.get(review.task_id or 0)
        if image is not None and review.image_reference in (None, image.reference):
            review.image_reference, review.image_sha256 = image.reference, image.sha256


def _remember_content(session: Session, project: Project, task_id: int, reference: str, sha256: str) -> None:
    """An image was fetched that annotations were made on before."""
    unknown = update(ReviewRow).where(
        ReviewRow.project_row_id == project.id,
        ReviewRow.task_id == task_id,
        ReviewRow.image_reference == reference,
        ReviewRow.image_sha256.is_(None),
    )
    session.execute(unknown.values(image_sha256=sha256))
