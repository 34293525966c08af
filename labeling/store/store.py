"""The store: a database and a blob folder, by subjects."""

from dataclasses import dataclass
from typing import Any

from labeling.store.actions import ActionStore
from labeling.store.annotation_syncs import AnnotationSyncStore
from labeling.store.annotations.corrections import CorrectionStore
from labeling.store.annotations.outcomes import OutcomeStore
from labeling.store.annotations.states import AnnotationStore
from labeling.store.blobs import BlobStore
from labeling.store.database import Database, require_database
from labeling.store.datasets import DataSetStore
from labeling.store.erasure import ErasureStore
from labeling.store.events import EventStore
from labeling.store.exclusions import ExclusionStore
from labeling.store.finetunes import FinetuneStore
from labeling.store.gallery import GalleryStore
from labeling.store.identity import read_identity
from labeling.store.model_versions import ModelStore
from labeling.store.predictions.progress import ProgressStore
from labeling.store.predictions.requests import RequestStore
from labeling.store.predictions.results import PredictionStore
from labeling.store.project_runs import ProjectRunStore
from labeling.store.projects import ProjectStore
from labeling.store.retention import RetentionStore
from labeling.store.task_images import TaskImageStore
from labeling.store.trials import TrialStore

_BUSY_TIMEOUT_S = 15.0
_WEBHOOK_BUSY_TIMEOUT_S = 0.5  # Label Studio waits one second for a webhook's answer


@dataclass(frozen=True, eq=False)
class Store:
    """What was requested, predicted and corrected. Safe to share between threads; open it again in each process.

    store = Store.open("sqlite:////data/argenseg.db", "/data/blobs")
    store.predictions.get(7)
    """

    database: Database
    blobs: BlobStore
    projects: ProjectStore
    requests: RequestStore
    predictions: PredictionStore
    progress: ProgressStore
    project_runs: ProjectRunStore
    events: EventStore
    annotations: AnnotationStore
    corrections: CorrectionStore
    outcomes: OutcomeStore
    exclusions: ExclusionStore
    erasure: ErasureStore
    syncs: AnnotationSyncStore
    images: TaskImageStore
    datasets: DataSetStore
    models: ModelStore
    finetunes: FinetuneStore
    actions: ActionStore
    retention: RetentionStore
    trials: TrialStore
    gallery: GalleryStore

    @classmethod
    def open(cls, database_url: str, blob_url: str, *, must_exist: bool = False) -> "Store":
        """Open a store, migrated as needed and, unless it `must_exist`, made. StoreError if it cannot be used;
        StoreMissing, and nothing was made, if it must exist and does not.
        """
        if must_exist:
            require_database(database_url)
        blobs = BlobStore(blob_url)
        database = Database(database_url, busy_timeout_s=_BUSY_TIMEOUT_S)
        database.migrate()
        annotations = AnnotationStore(database, blobs)
        return cls(
            database=database,
            blobs=blobs,
            projects=ProjectStore(database),
            requests=RequestStore(database),
            predictions=PredictionStore(database, blobs),
            progress=ProgressStore(database),
            project_runs=ProjectRunStore(database),
            events=EventStore(database, Database(database_url, busy_timeout_s=_WEBHOOK_BUSY_TIMEOUT_S)),
            annotations=annotations,
            corrections=CorrectionStore(database, blobs, annotations),
            outcomes=OutcomeStore(database),
            exclusions=ExclusionStore(database),
            erasure=ErasureStore(database, blobs),
            syncs=AnnotationSyncStore(database),
            images=TaskImageStore(database, blobs),
            datasets=DataSetStore(database, blobs),
            models=ModelStore(database),
            finetunes=FinetuneStore(database),
            actions=ActionStore(database),
            retention=RetentionStore(database, blobs),
            trials=TrialStore(database),
            gallery=GalleryStore(database),
        )

    def identity(self) -> str:
        """Its own name: see `read_identity`."""
        return read_identity(self.database)

    def close(self) -> None:
        """Close all connections."""
        self.database.engine.dispose()
        self.events.webhook_database.engine.dispose()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
