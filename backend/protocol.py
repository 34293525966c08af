"""Label Studio's ML backend protocol: /health, /setup, /predict and /versions.

Label Studio waits 1 s for /health, 3 s for /setup and 100 s for /predict, inside the request of the person who opened a
page. An empty list as a task's result tells it "nothing yet": it stores nothing and asks again next time. A
`{"result": []}` would be stored as a prediction, and the task would count as done.
"""

import logging
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, jsonify
from redis import RedisError

from backend.messages import read_message
from backend.services import Services
from labeling.errors import LabelConfigError, StoreError
from labeling.label_studio.messages import PredictRequest, SetupRequest, Task
from labeling.prompts.label_config import parse_label_config
from labeling.store.records import WantedPrediction
from labeling.versions import model_version, weights_name
from worker.queues import enqueue_prediction, wait_for_job
from worker.wishes import Wishes, enqueue_wishes, label_studio_url

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
    """Remember the project's label config and return its model version, at once, whatever the store does."""
    try:
        config = parse_label_config(message.label_config)
    except LabelConfigError as error:
        logger.warning("Project %d cannot be predicted: %s", message.project, error)
        return weights_name(services.settings.model)[0]
    url = label_studio_url(services.settings)
    services.background.call(_SETUP_STORE_S, services.store.upsert_project, url, message.project, message.label_config)
    return model_version(services.settings.model, config)


def predict_tasks(services: Services, message: PredictRequest) -> list[Any]:
    """One result for each task, in their order: a prediction, or `[]`."""
    try:
        wishes = Wishes(services.settings, services.store, message.project, message.label_config)
    except (LabelConfigError, StoreError) as error:
        logger.warning("Project %d: nothing is predicted. %s", message.project, error)
        return [NOT_YET for _ in message.tasks]
    if message.context is not None:
        typed_text = message.context.typed_text(wishes.config.text_prompt_tag)
        if typed_text is not None:
            return [answer_at_once(services, wishes, task, typed_text) for task in message.tasks]
        if message.context.result:  # a smart box or point
            return [NOT_YET for _ in message.tasks]
    elif len(message.tasks) == 1:
        return [answer_at_once(services, wishes, message.tasks[0])]
    want_all(services, wishes, message.tasks)
    return [NOT_YET for _ in message.tasks]


def answer_at_once(services: Services, wishes: Wishes, task: Task, typed_text: str | None = None) -> Any:
    """The prediction of a task that somebody looks at, if it is ready within the budget; else it is pushed later."""
    try:
        wish = wishes.want(task, delivery="sync", typed_text=typed_text)
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
    return {"result": delivered.result, "score": delivered.score, "model_version": delivered.model_version}


def wait_for_mask(services: Services, wish: WantedPrediction) -> None:
    """Put the wish at the front of the queue and wait for it, as long as there is a place, and Redis answers."""
    job = services.background.call(_ENQUEUE_S, enqueue_prediction, services.connection, wish.id, front=True)
    if job is None:
        return
    with services.waiting_room.place() as admitted:
        if not admitted:
            logger.info("All places to wait are taken; prediction %d is pushed when it is ready.", wish.id)
            return
        try:
            wait_for_job(job, services.settings.predict_wait_s)
        except RedisError as error:
            logger.warning("Redis failed while prediction %d was waited for: %s", wish.id, error)


def want_all(services: Services, wishes: Wishes, tasks: list[Task]) -> None:
    """Record a wish for each task. Their jobs are queued after the answer; the sweeper finds those that were not."""
    rows: list[WantedPrediction] = []
    try:
        for row in wishes.want_all(tasks):
            rows.append(replace(row, task_data={}, result=None))  # thousands of them may wait for their jobs
    except StoreError as error:
        logger.warning("%d of %d tasks were wanted, then: %s", len(rows), len(tasks), error)
    services.background.submit(enqueue_wishes, services.connection, rows)


def known_versions(services: Services) -> list[str]:
    """The versions of all predictions, newest first; if there are none, the model's name."""
    try:
        versions = services.store.model_versions()
    except StoreError as error:
        logger.warning("The versions are not known: %s", error)
        versions = []
    return versions or [weights_name(services.settings.model)[0]]
