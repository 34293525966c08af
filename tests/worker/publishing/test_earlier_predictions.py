"""A task whose prompt or image was changed gets new masks in place of those that we sent; nobody else's are touched."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from labeling.errors import LabelStudioError
from labeling.label_studio.client import TaskPage
from labeling.predictions import PredictedMask, Prediction, build_prediction
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.regions.cropped_mask import CroppedMask
from labeling.store import PredictionRequest, Store
from tests.worker.conftest import LABEL_STUDIO_URL, label_config
from worker.publishing.publisher import publish

VERSION = "starter-1 · a1b2c3"
BEFORE = {"image": "/data/1.png", "prompt": "cells"}
PROMPT, IMAGE = BEFORE | {"prompt": "nuclei"}, BEFORE | {"image": "/data/2.png"}


class HoldingLabelStudio:
    """One task with its data of now, and the predictions that it holds."""

    url = LABEL_STUDIO_URL

    def __init__(self) -> None:
        self.data: dict[str, Any] = BEFORE
        self.held: dict[int, dict[str, Any]] = {}
        self.breaks_at_delete = False
        self.may_delete = True
        self.is_begun = False  # an annotation, or a draft of one

    def list_predictions(self, task_id: int) -> list[dict[str, Any]]:
        return list(self.held.values())

    def create_prediction(self, task_id: int, prediction: Prediction) -> int:
        return self.add(prediction.result, prediction.model_version)

    def add(self, result: list[dict[str, Any]], version: str = VERSION) -> int:
        number = max(self.held, default=100) + 1
        self.held[number] = {"id": number, "model_version": version, "result": result}
        return number

    def delete_prediction(self, number: int) -> None:
        if self.breaks_at_delete:
            raise LabelStudioError("502", status=502, is_transient=True)
        if not self.may_delete:
            raise LabelStudioError("not allowed", status=403)
        if self.held.pop(number, None) is None:
            raise LabelStudioError("gone", status=404)

    def task_pages(self, project_id: int, *, after: int, **only: Any) -> Iterator[TaskPage]:
        assert only == {"page_size": 1, "only_unlabeled": True, "without_drafts": True}
        if not self.is_begun:
            yield TaskPage([{"id": 1, "data": self.data}], 1)


@pytest.fixture
def label_studio() -> HoldingLabelStudio:
    return HoldingLabelStudio()


def predict(
    store: Store, data: dict[str, Any], *, is_opened: bool = False, is_empty: bool = False
) -> PredictionRequest:
    """A prediction of the task with this data: ready, or delivered to its opened page."""
    config = label_config("cell")
    plan = plan_prompts(parse_label_config(config), data)
    project, delivery = store.projects.upsert(LABEL_STUDIO_URL, 5, config), "sync" if is_opened else "push"
    wanted = store.requests.add(project, 1, data, plan, VERSION, delivery=delivery)  # type: ignore[arg-type]
    item = plan.items[0]
    shape = CroppedMask.of(np.eye(8, dtype=bool))
    mask = PredictedMask("l0", "cell", item.from_name, item.to_name, item.region_type, shape, 0.9)
    store.predictions.finish(wanted.id, build_prediction([] if is_empty else [mask], VERSION, 8, 8))
    if is_opened:
        store.predictions.deliver_now(wanted.id)
    return store.predictions.get(wanted.id)


def send(store: Store, label_studio: HoldingLabelStudio, row: PredictionRequest) -> object:
    return publish(store, label_studio, row.id)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [PROMPT, IMAGE])
@pytest.mark.parametrize("is_empty", [False, True])
def test_what_we_sent_of_the_task_as_it_was_is_replaced(
    store: Store, label_studio: HoldingLabelStudio, data: dict[str, Any], is_empty: bool
) -> None:
    old = predict(store, BEFORE, is_empty=is_empty)
    assert send(store, label_studio, old) == "published"
    label_studio.data = data
    new = predict(store, data)
    assert send(store, label_studio, new) == "published"
    assert [held["result"] for held in label_studio.held.values()] == [new.result]
    assert store.predictions.get(old.id).status == "pruned"


def test_what_answered_the_opened_page_is_replaced(store: Store, label_studio: HoldingLabelStudio) -> None:
    label_studio.add(predict(store, BEFORE, is_opened=True).result or [])
    label_studio.data = PROMPT
    new = predict(store, PROMPT)
    send(store, label_studio, new)
    assert [held["result"] for held in label_studio.held.values()] == [new.result]


def test_the_prompt_of_before_is_back(store: Store, label_studio: HoldingLabelStudio) -> None:
    first = predict(store, BEFORE)
    for label_studio.data in (BEFORE, PROMPT, BEFORE):
        assert send(store, label_studio, predict(store, label_studio.data)) == "published"
    assert [held["result"] for held in label_studio.held.values()] == [first.result]


def test_a_job_that_is_late_replaces_nothing(store: Store, label_studio: HoldingLabelStudio) -> None:
    label_studio.data = PROMPT
    late, now = predict(store, BEFORE), predict(store, PROMPT)
    send(store, label_studio, now)
    assert send(store, label_studio, late) == "postponed_for_draft", "it is nothing that Label Studio holds"
    assert [held["result"] for held in label_studio.held.values()] == [now.result]


def test_what_somebody_works_on_is_not_replaced(store: Store, label_studio: HoldingLabelStudio) -> None:
    """A page that shows a deleted prediction cannot be submitted. And corrections are those of what it shows."""
    old = predict(store, BEFORE)
    send(store, label_studio, old)
    label_studio.data, label_studio.is_begun = PROMPT, True
    new = predict(store, PROMPT)
    assert send(store, label_studio, new) == "postponed_for_draft"
    assert [held["result"] for held in label_studio.held.values()] == [old.result]
    assert store.predictions.find_sent(new.project, 1, 101, or_newest=True) == old.id


def test_what_somebody_else_made_stands_for_the_task(store: Store, label_studio: HoldingLabelStudio) -> None:
    send(store, label_studio, predict(store, BEFORE))
    label_studio.add([{"id": "theirs"}])
    label_studio.data = PROMPT
    before = dict(label_studio.held)
    send(store, label_studio, predict(store, PROMPT))
    assert label_studio.held == before
    label_studio.data = PROMPT | {"prompt": "walls"}  # ours of before is known under their number by now
    send(store, label_studio, predict(store, label_studio.data))
    assert label_studio.held == before


def test_a_deletion_that_fails_is_made_later(store: Store, label_studio: HoldingLabelStudio) -> None:
    old = predict(store, BEFORE)
    send(store, label_studio, old)
    label_studio.data, label_studio.breaks_at_delete = PROMPT, True
    new = predict(store, PROMPT)
    send(store, label_studio, new)
    assert len(label_studio.held) == 2 and store.predictions.get(new.id).status == "ready"
    label_studio.breaks_at_delete = False
    assert send(store, label_studio, new) == "published"
    assert [held["result"] for held in label_studio.held.values()] == [new.result]


def test_what_may_not_be_deleted_keeps_nothing_from_being_sent(store: Store, label_studio: HoldingLabelStudio) -> None:
    old = predict(store, BEFORE)
    send(store, label_studio, old)
    label_studio.data, label_studio.may_delete = PROMPT, False
    new = predict(store, PROMPT)
    assert send(store, label_studio, new) == "published"
    assert [held["result"] for held in label_studio.held.values()] == [old.result, new.result]
    assert store.predictions.find_sent(new.project, 1, 102, or_newest=False) == new.id
