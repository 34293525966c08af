"""Which image a task shows, and its annotations were made on: by its content, as soon as somebody has fetched it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    CursorResult,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    exists,
    false,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from labeling.store.annotations.tables import AnnotationRow
from labeling.store.base import Base
from labeling.store.blobs import BlobStore
from labeling.store.database import Database
from labeling.store.exclusions import is_left_out
from labeling.store.projects import Project, ProjectRow


class TaskImageRow(Base):
    """Which image a task shows, by its content."""

    __tablename__ = "task_images"
    __table_args__ = (
        UniqueConstraint("project_row_id", "task_id", name="uq_task_images_task"),
        Index(
            "ix_task_images_to_keep",
            "project_row_id",
            "task_id",
            sqlite_where=text("kept = 0"),
            postgresql_where=text("NOT kept"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_row_id: Mapped[int] = mapped_column(ForeignKey("projects.id", name="fk_task_images_project"))
    task_id: Mapped[int]
    reference: Mapped[str]
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    width: Mapped[int | None]
    height: Mapped[int | None]
    kept: Mapped[bool] = mapped_column(default=False, server_default=false())  # as far as we know; then for good


@dataclass(frozen=True)
class TaskImage:
    """A task's image. `reference` is what the task's data says, `sha256` of its file, None until it was fetched."""

    task_id: int
    reference: str
    sha256: str | None
    width: int | None
    height: int | None


@dataclass
class TaskImageStore:
    """The images of tasks, and the files of those that are kept."""

    database: Database
    blobs: BlobStore

    def record(
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
        known = self.of_tasks(project, [task_id]).get(task_id)
        if known is not None and known.reference == reference and sha256 in (None, known.sha256):
            return  # a write costs more than this read
        with self.database.writing() as session:
            session.get_one(ProjectRow, project.id, with_for_update=True)
            row = session.scalar(select(TaskImageRow).filter_by(project_row_id=project.id, task_id=task_id))
            if row is None:
                row = TaskImageRow(project_row_id=project.id, task_id=task_id, reference=reference)
                session.add(row)
            if sha256 is not None or row.reference != reference:
                row.kept = row.kept and row.sha256 == sha256
                row.sha256, row.width, row.height = sha256, width, height
            row.reference = reference
            if sha256 is not None:
                _remember_content(session, project, task_id, reference, sha256)

    def of_tasks(self, project: Project, task_ids: Iterable[int]) -> dict[int, TaskImage]:
        """The images of tasks by task id; tasks of which nothing is known are absent."""
        query = select(TaskImageRow).where(
            TaskImageRow.project_row_id == project.id, TaskImageRow.task_id.in_(list(task_ids))
        )
        with self.database.reading() as session:
            return {
                row.task_id: TaskImage(row.task_id, row.reference, row.sha256, row.width, row.height)
                for row in session.scalars(query)
            }

    def to_keep(self, project: Project, *, after: int, until: int | None = None, limit: int) -> list[TaskImage]:
        """Images of submitted tasks that are not known to be kept, by task id in (after, until]; with a digest where it
        is known. Tasks that are left out are not among them.
        """
        is_submitted = exists().where(
            AnnotationRow.project_row_id == project.id,
            AnnotationRow.task_id == TaskImageRow.task_id,
            AnnotationRow.is_current,
            AnnotationRow.state == "submitted",
        )
        query = select(TaskImageRow.task_id, TaskImageRow.reference, TaskImageRow.sha256).where(
            TaskImageRow.project_row_id == project.id,
            TaskImageRow.kept.is_(False),
            TaskImageRow.task_id > after,
            is_submitted,
            ~is_left_out(TaskImageRow.project_row_id, TaskImageRow.task_id),
        )
        query = query if until is None else query.where(TaskImageRow.task_id <= until)
        with self.database.reading() as session:
            rows = session.execute(query.order_by(TaskImageRow.task_id).limit(limit))
            return [TaskImage(task_id, reference, sha256, None, None) for task_id, reference, sha256 in rows]

    def newest_task(self, project: Project) -> int:
        """The largest number of a task whose image is known; 0 if there is none."""
        query = select(func.max(TaskImageRow.task_id)).where(TaskImageRow.project_row_id == project.id)
        with self.database.reading() as session:
            return session.scalar(query) or 0

    def note_kept(self, project: Project, images: Iterable[TaskImage]) -> None:
        """The files of these tasks' images are kept; not if a task shows another one by now."""
        with self.database.writing() as session:
            for image in images:
                known = update(TaskImageRow).where(
                    TaskImageRow.project_row_id == project.id,
                    TaskImageRow.task_id == image.task_id,
                    TaskImageRow.sha256 == image.sha256,
                )
                session.execute(known.values(kept=True))

    def keep_of_task(self, project: Project, image: TaskImage, content: bytes, width: int, height: int) -> bool:
        """Keep the file of a task's image; False, and nothing is kept, if the task shows another image by now, or was
        erased.
        """
        digest = self.blobs.put(content)
        expected = update(TaskImageRow).where(
            TaskImageRow.project_row_id == project.id,
            TaskImageRow.task_id == image.task_id,
            TaskImageRow.reference == image.reference,
            or_(TaskImageRow.sha256.is_(None), TaskImageRow.sha256 == digest),
        )
        with self.database.writing() as session:
            kept = session.execute(expected.values(sha256=digest, width=width, height=height, kept=True))
            if cast(CursorResult[Any], kept).rowcount:
                _remember_content(session, project, image.task_id, image.reference, digest)
                return True
            is_shown = session.scalar(select(TaskImageRow.id).filter_by(sha256=digest).limit(1)) is not None
        if not is_shown:
            self.blobs.delete(digest)
        return False

    def keep(self, content: bytes) -> str:
        """Keep an image's file for good, beyond what the image cache does, and return its SHA-256."""
        return self.blobs.put(content)

    def holds(self, sha256: str) -> bool:
        """Whether an image's file is kept."""
        return self.blobs.holds(sha256)

    def read(self, sha256: str) -> bytes:
        """A kept image's file. StoreError if it is not there."""
        return self.blobs.get(sha256)


def remember_images(session: Session, project: Project, annotations: Sequence[AnnotationRow]) -> None:
    """Say of new annotations which image they were made on: what the event said of it, or else what its task shows."""
    task_ids = {annotation.task_id for annotation in annotations}
    query = select(TaskImageRow).where(TaskImageRow.project_row_id == project.id, TaskImageRow.task_id.in_(task_ids))
    shown = {row.task_id: row for row in session.scalars(query)}
    for annotation in annotations:
        image = shown.get(annotation.task_id or 0)
        if image is not None and annotation.image_reference in (None, image.reference):
            annotation.image_reference, annotation.image_sha256 = image.reference, image.sha256


def _remember_content(session: Session, project: Project, task_id: int, reference: str, sha256: str) -> None:
    """An image was fetched that annotations were made on before."""
    unknown = update(AnnotationRow).where(
        AnnotationRow.project_row_id == project.id,
        AnnotationRow.task_id == task_id,
        AnnotationRow.image_reference == reference,
        AnnotationRow.image_sha256.is_(None),
    )
    session.execute(unknown.values(image_sha256=sha256))
