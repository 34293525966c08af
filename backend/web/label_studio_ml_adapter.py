"""ARGenSeg for those who serve their models with label-studio-ml: its server, our services.

    waitress-serve --port 9090 --threads 8 --call backend.web.label_studio_ml_adapter:create_app

Tested with label-studio-ml 1.0.9, which is no dependency of ours because it pins Flask 1.1.2 of 2020. Install it, and
what it imports, by `pip install --no-deps label-studio-ml==1.0.9 label-studio-tools==0.0.4 appdirs colorama xmljson`.
For 2.x, which is not on PyPI, `ARGenSegBackend` is written, and untested. Workers and publishers run as they do beside
`argenseg backend`, which needs none of this and can more: basic authentication, GET /versions.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from flask import Flask
from label_studio_ml import api
from label_studio_ml.model import LabelStudioMLBase

from backend.web.background import Background
from backend.web.callers import guard
from backend.web.predict import predict_tasks
from backend.web.protocol import known_versions, set_up_project
from backend.web.services import Services, WaitingRoom
from backend.web.webhooks import take_event
from labeling.label_studio.messages import PredictRequest, SetupRequest
from labeling.settings import read_settings
from labeling.store import Store
from worker.queue.connection import connect


@cache
def services() -> Services:
    """This process's services, as the environment sets them: label-studio-ml makes a new model for every request."""
    settings = read_settings()
    store = Store.open(settings.database_url, settings.blob_url)
    return Services(settings, store, connect(settings), Background(), WaitingRoom(settings.threads), store.identity())


class ARGenSegBackend(LabelStudioMLBase):  # type: ignore[misc]  # label-studio-ml is untyped, and mostly not there
    """Asks for predictions through the store and the queue, as our own server does."""

    def setup(self) -> None:
        """What 2.x calls before every request; 1.0.9 never does."""
        if self.project_id and self.label_config:
            self.set("model_version", _set_up(self.project_id, self.label_config))

    def predict(self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **_: Any) -> list[Any]:
        """One result for each task, `[]` where it is pushed when it is ready. `context`: what the page asks for."""
        project = getattr(self, "project_id", None) or (tasks[0].get("project") if tasks else 0)
        return _predict(project, self.label_config, tasks, context)

    def fit(self, event: str, data: dict[str, Any], **_: Any) -> None:
        """What 2.x calls for a webhook: keep the event. 1.0.9 goes through `_Manager.webhook`."""
        take_event(services(), event, {**data, "action": event})


def create_app() -> Flask:
    """label-studio-ml's application around ARGenSegBackend, with our rules of who may call."""
    api._manager = _Manager()
    app: Flask = api.init_app(ARGenSegBackend)
    guard(app, read_settings())
    return app


@dataclass(frozen=True)
class _SetUpModel:
    model_version: str


class _Manager:
    """What 1.0.9's routes call. Its own manager tells the version INITIAL whatever the model is, so that Label Studio
    would hide our masks, predicts all projects by the label config that came last, and starts a process per webhook.
    """

    model_dir = None

    def initialize(self, model_class: type, **_: Any) -> None:
        """Nothing: the model is made for each request."""

    def fetch(self, project: str, label_config: str, force_reload: bool = False, **_: Any) -> _SetUpModel:
        """POST /setup."""
        return _SetUpModel(_set_up(project, label_config))

    def predict(
        self,
        tasks: list[dict[str, Any]],
        project: str,
        label_config: str,
        force_reload: bool = False,
        try_fetch: bool = True,
        **params: Any,
    ) -> tuple[list[Any], _SetUpModel]:
        """POST /predict."""
        model = ARGenSegBackend(label_config=None)  # its parser expands entities
        model.project_id, model.label_config = project, label_config
        return model.predict(tasks, **params), self.fetch(project, label_config)

    def webhook(self, event: str, data: dict[str, Any]) -> dict[str, str]:
        """POST /webhook."""
        take_event(services(), event, {**data, "action": event})
        return {"status": "ok"}

    def is_training(self, project: str | None) -> dict[str, bool]:
        """GET /is_training: it is asked by nobody since Label Studio 1.4."""
        return {"is_training": False}

    def _get_models_from_workdir(self, project: str) -> list[str]:
        return known_versions(services())


def _set_up(project: str, label_config: str) -> str:
    return set_up_project(services(), SetupRequest.model_validate({"project": project, "schema": label_config}))


def _predict(project: Any, label_config: str, tasks: list[dict[str, Any]], context: Any) -> list[Any]:
    body = {"project": project, "label_config": label_config, "tasks": tasks, "params": {"context": context}}
    return predict_tasks(services(), PredictRequest.model_validate(body))
