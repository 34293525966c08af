"""The store: one object for the database and the blob folder."""

from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from labeling.errors import StoreError
from labeling.store.addresses import AddressStore
from labeling.store.annotation_syncs import SyncStore
from labeling.store.blobs import BlobStore
from labeling.store.corrections import CorrectionStore
from labeling.store.database import Database
from labeling.store.erasure import ErasureStore
from labeling.store.events import EventStore
from labeling.store.exclusions import ExclusionStore
from labeling.store.finetune_runs import FinetuneRunStore
from labeling.store.image_splits import DataSetStore
from labeling.store.models import ModelStore
from labeling.store.operations import OperationStore
from labeling.store.predictions import PredictionStore, project_record
from labeling.store.records import Project
from labeling.store.tables import ProjectRow
from labeling.store.task_images import TaskImageStore
from labeling.store.waiting import WaitingStore

_BUSY_TIMEOUT_S = 15.0
_WEBHOOK_BUSY_TIMEOUT_S = 0.5  # Label Studio waits one second for a webhook's answer


class Store(
    PredictionStore,
    WaitingStore,
    OperationStore,
    EventStore,
    CorrectionStore,
    TaskImageStore,
    ExclusionStore,
    ErasureStore,
    SyncStore,
    AddressStore,
    DataSetStore,
    ModelStore,
    FinetuneRunStore,
):
    """What was wanted, predicted and corrected. Safe to share between threads; open it again in each process.

    store = Store.open("sqlite:////data/argenseg.db", "/data/blobs")
    """

    def __init__(self, database: Database, webhook_database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._webhook_database = webhook_database
        self._blobs = blobs

    @classmethod
    def open(cls, database_url: str, blob_url: str) -> "Store":
        """Open a store, made or migrated as needed. StoreError if it cannot be used."""
        blobs = BlobStore(blob_url)
        database = Database(database_url, busy_timeout_s=_BUSY_TIMEOUT_S)
        database.migrate()
        return cls(database, Database(database_url, busy_timeout_s=_WEBHOOK_BUSY_TIMEOUT_S), blobs)

    def close(self) -> None:
        """Close all connections."""
        self._database.engine.dispose()
        self._webhook_database.engine.dispose()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def upsert_project(
        self, label_studio_url: str, project_id: int, label_config: str, shown_version: str | None = None
    ) -> Project:
        """The project of this URL and number, with its label config and, if given, what it shows brought up to date."""
        url = label_studio_url.rstrip("/")
        with self._database.reading() as session:  # it is mostly as it was: nobody waits for a turn to write
            row = _project_row(session, url, project_id)
            if row is not None and row.label_config == label_config and shown_version in (None, row.shown_version):
                return project_record(row)
        with self._database.writing() as session:
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

    def find_project(self, project_id: int, label_studio_url: str | None = None) -> Project | None:
        """The project of this number; without a URL, the newest one that has it."""
        query = select(ProjectRow).where(ProjectRow.project_id == project_id).order_by(ProjectRow.id.desc()).limit(1)
        if label_studio_url is not None:
            query = query.where(ProjectRow.label_studio_url == label_studio_url.rstrip("/"))
        with self._database.reading() as session:
            row = session.scalar(query)
            return None if row is None else project_record(row)

    def first_seen(self, project: Project) -> datetime:
        """When we first heard of a project. StoreError if it is not known."""
        with self._database.reading() as session:
            row = session.get(ProjectRow, project.id)
            if row is None:
                raise StoreError(f"There is no project {project.project_id} in the store. Was the database replaced?")
            return row.created_at

    def list_projects(self) -> list[Project]:
        """All projects that were ever seen, by Label Studio and number."""
        query = select(ProjectRow).order_by(ProjectRow.label_studio_url, ProjectRow.project_id)
        with self._database.reading() as session:
            return [project_record(row) for row in session.scalars(query)]

    def read_mask(self, digest: str) -> NDArray[np.bool_]:
        """A correction's mask, bool (height, width). StoreError if the blob is missing or damaged."""
        return self._blobs.get_mask(digest)


def _project_row(session: Session, url: str, project_id: int) -> ProjectRow | None:
    return session.scalar(select(ProjectRow).filter_by(label_studio_url=url, project_id=project_id))
