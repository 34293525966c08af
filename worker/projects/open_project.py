"""A project of Label Studio with all that it takes to work on it: its client, our store and queue, its requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from labeling.errors import SettingsError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.messages import Task
from labeling.settings import Settings
from labeling.store import Project, Store
from worker.projects.requests import ProjectRequests
from worker.queue.connection import Connection, connect


@dataclass(frozen=True)
class OpenProject:
    """A project under its label config and model version of now. `shown` is the project's own `model_version`.

    `task_count` and `shown` are as of when it was opened.
    """

    store: Store
    client: LabelStudioClient
    connection: "Connection"
    requests: ProjectRequests
    title: str
    task_count: int
    shown: str

    @property
    def number(self) -> int:
        """Label Studio's number of the project."""
        return self.project.project_id

    @property
    def project(self) -> Project:
        """Our record of it."""
        return self.requests.project

    @property
    def version(self) -> str:
        """The model version of now: the one that tasks are predicted with."""
        return self.requests.model_version

    def tasks_without_prediction(self, *, only_unlabeled: bool = False) -> int:
        """How many tasks lack a prediction of the version of now in Label Studio; blind and erased ones need none."""
        leaves_some_out = self.requests.leaves_some_out
        pages = self.client.task_pages(
            self.number,
            lacking_version=self.version,
            only_unlabeled=only_unlabeled,
            page_size=100 if leaves_some_out else 1,
        )
        if not leaves_some_out:
            return next((page.remaining for page in pages), 0)
        return sum(not self.requests.leaves_out(Task.model_validate(task)) for page in pages for task in page.tasks)


@contextmanager
def open_project(settings: Settings, number: int) -> Iterator[OpenProject]:
    """Open project `number` of the Label Studio that the settings name.

    WorkerError if they name none, StoreMissing where the backend never made a store; LabelStudioError, LabelConfigError
    or StoreError as these parts fail.
    """
    client = require_client(settings)
    found = client.get_project(number)
    with Store.open(settings.database_url, settings.blob_url, must_exist=True) as store:
        shown = str(found.get("model_version") or "")
        requests = ProjectRequests(settings, store, number, str(found["label_config"]), shown_version=shown)
        store.projects.describe(requests.project, str(found.get("title") or ""), int(found.get("task_number") or 0))
        yield OpenProject(
            store=store,
            client=client,
            connection=connect(settings),
            requests=requests,
            title=str(found.get("title") or ""),
            task_count=int(found.get("task_number") or 0),
            shown=shown,
        )
    client.close()


def require_client(settings: Settings) -> LabelStudioClient:
    """The client for the settings' Label Studio; SettingsError if they do not say where it is."""
    client = LabelStudioClient.from_settings(settings)
    if client is None:
        raise SettingsError(
            "It is not known which Label Studio is meant. Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, or give"
            " --label-studio-url and --api-key."
        )
    return client
