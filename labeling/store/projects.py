"""Projects of Label Studio as they were seen last, and where their Label Studio is."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, UniqueConstraint, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from labeling.credentials import hide_passwords
from labeling.errors import StoreError
from labeling.store.base import Base, utc_now
from labeling.store.database import Database
from labeling.store.datasets import DataSetRow
from labeling.store.events import EventRow


class ProjectRow(Base):
    """A project of one Label Studio; its label config and the version that it shows are the newest that were seen."""

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("label_studio_url", "project_id", name="uq_projects_url_project"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    label_studio_url: Mapped[str] = mapped_column(String(500))
    project_id: Mapped[int]
    label_config: Mapped[str]
    shown_version: Mapped[str | None]
    title: Mapped[str | None]
    task_count: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


@dataclass(frozen=True)
class Project:
    """A project of one Label Studio. `id` is our row, `project_id` Label Studio's number.

    `shown_version`: what its `model_version` was when we last saw it: annotators see predictions of this version, or
    of that which the backend of this title names; None: it was never seen. `title` and `task_count` are as Label Studio
    said them last, None before.
    """

    id: int
    label_studio_url: str
    project_id: int
    label_config: str
    shown_version: str | None = None
    title: str | None = None
    task_count: int | None = None

    @property
    def name(self) -> str:
        """For people: its title where that is known."""
        return self.title or f"Project {self.project_id}"


@dataclass
class ProjectStore:
    """Projects, by their Label Studio and number."""

    database: Database

    def upsert(
        self, label_studio_url: str, project_id: int, label_config: str, shown_version: str | None = None
    ) -> Project:
        """The project of this URL and number, with its label config and, if given, what it shows brought up to date."""
        url = label_studio_url.rstrip("/")
        with self.database.reading() as session:  # it is mostly as it was: nobody waits for a turn to write
            row = _project_row(session, url, project_id)
            if row is not None and row.label_config == label_config and shown_version in (None, row.shown_version):
                return project_record(row)
        with self.database.writing() as session:
            row = _project_row(session, url, project_id)
            if row is None:
                row = ProjectRow(label_studio_url=url, project_id=project_id, label_config=label_config)
                try:
                    with session.begin_nested():
                        session.add(row)
                except IntegrityError:  # another process was faster
                    row = _project_row(session, url, project_id) or row
            row.label_config = label_config
            row.shown_version = row.shown_version if shown_version is None else shown_version
            session.flush()
            return project_record(row)

    def describe(self, project: Project, title: str, task_count: int) -> None:
        """Remember what Label Studio says of a project, for people."""
        if (project.title, project.task_count) == (title, task_count):
            return
        with self.database.writing() as session:
            session.execute(
                update(ProjectRow).where(ProjectRow.id == project.id).values(title=title, task_count=task_count)
            )

    def get(self, row_id: int) -> Project | None:
        """The project of our row; None if there is none."""
        with self.database.reading() as session:
            return project_of(session, row_id)

    def find(self, project_id: int, label_studio_url: str | None = None) -> Project | None:
        """The project of this number; without a URL, the newest one that has it."""
        query = select(ProjectRow).where(ProjectRow.project_id == project_id).order_by(ProjectRow.id.desc()).limit(1)
        if label_studio_url is not None:
            query = query.where(ProjectRow.label_studio_url == label_studio_url.rstrip("/"))
        with self.database.reading() as session:
            row = session.scalar(query)
            return None if row is None else project_record(row)

    def first_seen(self, project: Project) -> datetime:
        """When a project was first seen. StoreError if it is not known."""
        with self.database.reading() as session:
            row = session.get(ProjectRow, project.id)
            if row is None:
                raise StoreError(f"There is no project {project.project_id} in the store. Was the database replaced?")
            return row.created_at

    def all(self) -> list[Project]:
        """All projects that were ever seen, by Label Studio and number."""
        query = select(ProjectRow).order_by(ProjectRow.label_studio_url, ProjectRow.project_id)
        with self.database.reading() as session:
            return [project_record(row) for row in session.scalars(query)]

    def of_address(self, label_studio_url: str) -> list[Project]:
        """The projects of one Label Studio."""
        query = select(ProjectRow).filter_by(label_studio_url=label_studio_url.rstrip("/")).order_by(ProjectRow.id)
        with self.database.reading() as session:
            return [project_record(row) for row in session.scalars(query)]

    def move(self, before: str, now: str) -> list[Project]:
        """Let all projects of one address belong to another, and return them: their numbers stay.

        StoreError, and nothing is moved, if there are none, or the other address has a project of the same number.
        """
        before, now = before.rstrip("/"), now.rstrip("/")
        with self.database.writing() as session:
            rows = list(session.scalars(select(ProjectRow).order_by(ProjectRow.project_id)))
            moving = [row for row in rows if row.label_studio_url == before]
            if not moving:
                raise StoreError(f"There is no project of {_shown([before])}. There are some of: {_addresses(rows)}.")
            taken = {row.project_id for row in rows if row.label_studio_url == now != before}
            if both := [str(row.project_id) for row in moving if row.project_id in taken]:
                numbers = ", ".join(both)
                aside = f"To keep the older, first move the newer aside, to an address such as {_shown([now])}/new."
                raise StoreError(f"{_shown([now])} has a project {numbers} too, and two are not joined. {aside}")
            for row in moving:
                row.label_studio_url = now
            # what an event reported is found, and erased on request, by its address and the project's number
            session.execute(update(EventRow).where(EventRow.label_studio_url == before).values(label_studio_url=now))
            for made in session.scalars(select(DataSetRow)):
                options = made.lineage.get("options", {})
                if options.get("label_studio_url") == before:
                    made.lineage = made.lineage | {"options": options | {"label_studio_url": now}}
            session.flush()
            return [project_record(row) for row in moving]


def project_record(row: ProjectRow) -> Project:
    """A project's row as it is handed out."""
    return Project(
        row.id, row.label_studio_url, row.project_id, row.label_config, row.shown_version, row.title, row.task_count
    )


def project_of(session: Session, project_row_id: int | None) -> Project | None:
    """The project behind a row's reference."""
    row = None if project_row_id is None else session.get(ProjectRow, project_row_id)
    return None if row is None else project_record(row)


def _project_row(session: Session, url: str, project_id: int) -> ProjectRow | None:
    return session.scalar(select(ProjectRow).filter_by(label_studio_url=url, project_id=project_id))


def _addresses(rows: list[ProjectRow]) -> str:
    return _shown(sorted({row.label_studio_url for row in rows}) or ["none"])


def _shown(urls: list[str]) -> str:
    return ", ".join(hide_passwords(url) or "(no address)" for url in urls)
