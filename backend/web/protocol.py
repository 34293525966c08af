"""Label Studio's ML backend protocol: /health, /setup, /predict and /versions.

Label Studio waits 1 s for /health, 3 s for /setup and 100 s for /predict, inside the request of the person who opened a
page.
"""

import logging
from functools import lru_cache

from flask import Blueprint, Response, jsonify

from backend.web.messages import read_message
from backend.web.predict import predict_tasks
from backend.web.services import Services
from labeling.errors import LabelConfigError, StoreError
from labeling.label_studio.messages import PredictRequest, SetupRequest
from labeling.prompts.known import known_names, unknown_notes
from labeling.prompts.label_config import parse_label_config
from labeling.settings import Settings
from labeling.store import SENT_STATUSES, Store
from labeling.versions import model_version, weights_name
from worker.projects.active_model import active_model

logger = logging.getLogger(__name__)

_SETUP_STORE_S = 1.0  # of the 3 s that Label Studio waits for /setup


def make_blueprint(services: Services) -> Blueprint:
    """The protocol's routes."""
    protocol = Blueprint("protocol", __name__)

    @protocol.get("/health")
    def health() -> Response:
        return jsonify(status="UP", model_class="ARGenSeg", store=services.store_identity)

    @protocol.post("/setup")
    def setup() -> Response:
        return jsonify(model_version=set_up_project(services, read_message(SetupRequest)))

    @protocol.post("/predict")
    def predict() -> Response:
        return jsonify(results=predict_tasks(services, read_message(PredictRequest)))

    @protocol.route("/versions", methods=["GET", "POST"])
    def versions() -> Response:
        return jsonify(versions=known_versions(services))

    return protocol


def set_up_project(services: Services, message: SetupRequest) -> str:
    """Remember the project's label config and return its model version, at once, whatever the store does.

    Label Studio shows the masks of exactly this version. So for a label config that cannot be predicted it is the last
    one whose masks were sent, and while the store does not answer the one that was reported last: they stay visible.
    """
    url = services.settings.installation_url
    services.background.submit(services.store.projects.upsert, url, message.project, message.label_config)
    try:
        config = parse_label_config(message.label_config)
    except LabelConfigError as error:
        logger.warning("Project %d cannot be predicted: %s", message.project, error)
        sent = services.background.call(_SETUP_STORE_S, _last_sent_version, services.store, url, message.project)
        return sent or weights_name(services.settings.model)[0]
    for note in config.notes:
        _say_once(message.project, note)
    store, settings = services.store, services.settings
    model = services.background.call(_SETUP_STORE_S, _serving_model, settings, store, message.project)
    if model is None:
        model = services.reported_models.get(message.project, settings.model)
    services.reported_models[message.project] = model
    for note in unknown_notes(known_names(settings, model), config):
        _say_once(message.project, note)
    return model_version(model, config)


def _serving_model(settings: Settings, store: Store, project_id: int) -> str:
    return active_model(settings, store, store.projects.find(project_id, settings.installation_url))


def _last_sent_version(store: Store, url: str, project_id: int) -> str | None:
    project = store.projects.find(project_id, url)
    counts = store.progress.version_counts(project) if project else {}
    sent = (version for version, by_status in counts.items() if by_status.keys() & set(SENT_STATUSES))
    return next(sent, None)


@lru_cache(maxsize=1000)
def _say_once(project_id: int, note: str) -> None:
    logger.info("Project %d: %s", project_id, note)


def known_versions(services: Services) -> list[str]:
    """The versions of all predictions, newest first; if there are none, the model's name."""
    try:
        versions = services.store.progress.versions()
    except StoreError as error:
        logger.warning("The versions are not known: %s", error)
        versions = []
    return versions or [weights_name(services.settings.model)[0]]
