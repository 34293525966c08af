"""Label Studio's ML backend protocol: /health, /setup, /predict and /versions.

Label Studio waits 1 s for /health, 3 s for /setup and 100 s for /predict, inside the request of the person who opened a
page. An empty list as a task's result tells it "nothing yet": it stores nothing and asks again next time. A
`{"result": []}` would be stored as a prediction, and the task would count as done.
"""

import logging
from dataclasses import replace
from functools import lru_cache
from typing import Any

from flask import Blueprint, Response, jsonify

from backend.web.double_opens import JUST_NOW_S, LIMIT_S, is_shown_without
from backend.web.messages import read_message
from backend.web.services import Services
from labeling.errors import LabelConfigError, StoreError
from labeling.label_studio.messages import PredictRequest, SetupRequest, Task
from labeling.prompts.interaction import Interaction, read_interaction
from labeling.prompts.label_config import parse_label_config
from labeling.settings import Settings
from labeling.store.records import WantedPrediction
from labeling.store.store import Store
from labeling.versions import model_version, weights_name
from worker.errors import QueueUnreachable
from worker.projects.active_model import active_model
from worker.projects.requests import ProjectRequests, enqueue_requests
from worker.queue.queues import enqueue_prediction, wait_for_job

logger = logging.getLogger(__name__)

_SETUP_STORE_S = 1.0  # of the 3 s that Label Studio waits for /setup
_ENQUEUE_S = 2.0

NOT_YET: list[Any] = []  # a task's result when it has none to show


def make_blueprint(services: Services) -> Blueprint:
    """The protocol's routes."""
    protocol = Blueprint("protocol", __name__)

    @protocol.get("/health")
    def health() -> Response:
        return jsonify(status="UP", model_class="ARGenSeg")

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
    one whose masks were sent, and while the store does not answer the one that was told last: they stay visible.
    """
    url = services.settings.installation_url
    services.background.submit(services.store.upsert_project, url, message.project, message.label_config)
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
        model = services.told_models.get(message.project, settings.model)
    services.told_models[message.project] = model
    return model_version(model, config)


def _serving_model(settings: Settings, store: Store, project_id: int) -> str:
    return active_model(settings, store, store.find_project(project_id, settings.installation_url))


def _last_sent_version(store: Store, url: str, project_id: int) -> str | None:
    project = store.find_project(project_id, url)
    counts = store.version_counts(project) if project else {}
    sent = (version for version, by_status in counts.items() if {"published", "delivered"} & by_status.keys())
    return next(sent, None)


@lru_cache(maxsize=1000)
def _say_once(project_id: int, note: str) -> None:
    logger.info("Project %d: %s", project_id, note)


def predict_tasks(services: Services, message: PredictRequest) -> list[Any]:
    """One result for each task, in their order: a prediction, or `[]`."""
    try:
        requests = ProjectRequests(
            services.settings, services.store, message.project, message.label_config, as_pinned=True
        )
    except (LabelConfigError, StoreError) as error:
        logger.warning("Project %d: nothing is predicted. %s", message.project, error)
        return [NOT_YET for _ in message.tasks]
    if message.context is not None:
        asked = read_interaction(message.context.result or [], requests.config)
        if asked is not None:
            return [answer_at_once(services, requests, task, asked) for task in message.tasks]
        if message.context.result:  # some other tool's
            return [NOT_YET for _ in message.tasks]
    elif len(message.tasks) == 1 and not requests.is_blind(message.tasks[0]):
        return [answer_at_once(services, requests, message.tasks[0])]
    request_all(services, requests, message.tasks)
    return [NOT_YET for _ in message.tasks]


def answer_at_once(services: Services, requests: ProjectRequests, task: Task, asked: Interaction | None = None) -> Any:
    """The prediction of a task that somebody looks at, if it is ready within the budget; else it is pushed later.

    What the page itself asked for waits longer: its answer cannot be pushed. An erased task has none.
    """
    if requests.is_erased(task):
        return NOT_YET
    try:
        wish = requests.request(task, delivery="sync", asked=asked)
        if wish.status == "wanted":
            wait_for_mask(services, wish)
        elif wish.status == "failed":
            logger.warning("Task %d cannot be predicted: %s", task.id, wish.error)
            return NOT_YET
        delivered = services.store.deliver_now(wish.id)
    except StoreError as error:
        logger.warning("Task %d: %s", task.id, error)
        return NOT_YET
    if delivered is None:
        return NOT_YET
    sent, is_again = delivered.prediction, delivered.sent_s_ago is not None and delivered.sent_s_ago < JUST_NOW_S
    if is_again and asked is None and services.background.call(LIMIT_S, is_shown_without, services.settings, sent):
        return NOT_YET
    return {"result": sent.result, "score": sent.score, "model_version": sent.model_version}


def wait_for_mask(services: Services, wish: WantedPrediction) -> None:
    """Put the wish at the front of the queue and wait for it, as long as there is a place, and Redis answers."""
    job = services.background.call(_ENQUEUE_S, enqueue_prediction, services.connection, wish.id, front=True)
    if job is None:
        return
    with services.waiting_room.place() as admitted:
        if not admitted:
            logger.info("All places to wait are taken; prediction %d is not waited for.", wish.id)
            return
        try:
            settings = services.settings
            wait_for_job(job, settings.interactive_wait_s if wish.interactive else settings.predict_wait_s)
        except QueueUnreachable as error:
            logger.warning("Prediction %d is not waited for any more: %s", wish.id, error)


def request_all(services: Services, requests: ProjectRequests, tasks: list[Task]) -> None:
    """Record a wish for each task. Their jobs are queued after the answer; the sweeper finds those that were not."""
    rows: list[WantedPrediction] = []
    try:
        for row in requests.request_all(tasks):
            rows.append(replace(row, task_data={}, result=None))  # thousands of them may wait for their jobs
    except StoreError as error:
        logger.warning("%d of %d tasks were wanted, then: %s", len(rows), len(tasks), error)
    services.background.submit(enqueue_requests, services.connection, rows)


def known_versions(services: Services) -> list[str]:
    """The versions of all predictions, newest first; if there are none, the model's name."""
    try:
        versions = services.store.model_versions()
    except StoreError as error:
        logger.warning("The versions are not known: %s", error)
        versions = []
    return versions or [weights_name(services.settings.model)[0]]
