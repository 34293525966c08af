"""What a worker process is made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from labeling.label_studio.client import LabelStudioClient
from labeling.settings import Settings
from labeling.store import PredictionRequest, Store
from labeling.versions import weights_of
from worker.queue.connection import Connection, connect
from worker.queue.metrics import Metrics


@dataclass(frozen=True)
class JobContext:
    """What a worker process hands to its jobs, made once in its main."""

    settings: Settings
    store: Store
    client: LabelStudioClient | None
    connection: "Connection"

    @classmethod
    @contextmanager
    def open(cls, settings: Settings, *, must_exist: bool = False) -> Iterator["JobContext"]:
        """The context of a worker process. StoreError if the store cannot be used, StoreMissing if it `must_exist`."""
        with Store.open(settings.database_url, settings.blob_url, must_exist=must_exist) as store:
            yield cls(settings, store, LabelStudioClient.from_settings(settings), connect(settings, retries=20))

    @cached_property
    def metrics(self) -> Metrics:
        """Where to count what happens."""
        return Metrics.of(self.settings)

    def model_of(self, request: PredictionRequest) -> str:
        """The model (a folder, hub id, or "starter") that the request is to be computed with.

        That of a deleted version cannot be loaded, but no other one may answer under its name.
        """
        version = self.store.models.find(weights_of(request.model_version), with_deleted=True)
        return self.settings.model if version is None else version.folder
