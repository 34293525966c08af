"""A task whose prompt or image is changed in Label Studio, which tells nobody, is predicted anew."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from labeling.label_studio.client import TaskPage
from labeling.label_studio.messages import Task
from labeling.predictions import PredictedRegion, Prediction
from labeling.regions.cropped_mask import CroppedMask
from labeling.store import PredictionRequest, Store
from tests.worker.conftest import LABEL_STUDIO_URL
from tests.worker.label_studio_double import CONFIG, LabelStudioDouble, box
from worker.context import JobContext
from worker.projects.requests import ProjectRequests
from worker.queue import jobs
from worker.queue.queues import GPU, PREDICT, PUBLISH, PUBLISH_PREDICTION, live_rows
from worker.reconcile import project_sync


@dataclass
class Editable(LabelStudioDouble):
    """Tasks whose data can be changed, and of which somebody may hold a draft; each holds a prediction."""

    data: dict[int, dict[str, Any]] = field(default_factory=dict)
    drafts: set[int] = field(default_factory=set)  # of tasks, whose time of change they do not touch
    held: dict[int, dict[str, Any]] = field(default_factory=dict)

    def edit(self, task_id: int, **data: Any) -> None:
        self.data[task_id] = self._task(task_id)["data"] | data
        self._changed[task_id] = self._now()

    def task_pages(self, project_id: int, *, without_drafts: bool = False, **wanted: Any) -> Iterator[TaskPage]:
        only_unlabeled = bool(wanted.pop("only_unlabeled", False))
        wanted.pop("page_size", None)
        for page in super().task_pages(project_id, **wanted):
            tasks = [task for task in page.tasks if not (without_drafts and task["id"] in self.drafts)]
            tasks = [task for task in tasks if not (only_unlabeled and task["total_annotations"])]
            if tasks:
                yield TaskPage(tasks, page.remaining)

    def list_predictions(self, task_id: int) -> list[dict[str, Any]]:
        return [each for each in self.held.values() if each["task"] == task_id]

    def create_prediction(self, task_id: int, prediction: Prediction) -> int:
        return self.hold(200 + len(self.held), task_id, prediction)

    def hold(self, number: int, task_id: int, prediction: Prediction) -> int:
        known = {"id": number, "task": task_id, "model_version": prediction.model_version}
        self.held[number] = known | {"result": prediction.result}
        return number

    def delete_prediction(self, number: int) -> None:
        del self.held[number]

    def _task(self, task_id: int) -> dict[str, Any]:
        known = super()._task(task_id)
        return {**known, "data": known["data"] | self.data.get(task_id, {}), "total_predictions": 1}


@pytest.fixture
def label_studio() -> Editable:
    return Editable(url=LABEL_STUDIO_URL)


@pytest.fixture
def predicted(context: JobContext, store: Store, label_studio: Editable) -> JobContext:
    """Its tasks were sent their predictions, but for the third, which is not computed."""
    settings = context.settings.model_copy(update={"model": str(context.settings.data_dir)})
    predicted = replace(context, settings=settings, client=label_studio)  # type: ignore[arg-type]
    for number, row in enumerate(requests_of(predicted).request_all([task(label_studio, each) for each in (1, 2, 3)])):
        if number < 2:
            store.predictions.finish(row.id, prediction(row, "before"))
            store.predictions.mark_published(
                row.id, label_studio.hold(100 + number, row.task_id, prediction(row, "before"))
            )
    assert sync(predicted) == 0
    return predicted


def requests_of(context: JobContext) -> ProjectRequests:
    return ProjectRequests(context.settings, context.store, 5, CONFIG)


def prediction(row: PredictionRequest, region_id: str) -> Prediction:
    region = box(region_id, 0)
    shape = CroppedMask.of(np.ones((8, 8), bool))
    regions = [PredictedRegion(region_id, "red", "red", 0.5, shape)]
    return Prediction([region], 0.5, row.model_version, tuple(regions))


def publish_all(context: JobContext, region_id: str = "now") -> list[str]:
    """What the workers do: predict, and send; returns what became of what was ready."""
    store = context.store
    for row_id in store.requests.stale(-1):
        store.predictions.finish(row_id, prediction(store.predictions.get(row_id), region_id))
    return [str(jobs.publish(context, row_id)) for row_id in store.predictions.unpublished(-1)]


def task(label_studio: Editable, task_id: int) -> Task:
    return Task.model_validate(label_studio.get_task(task_id))


def sync(context: JobContext) -> int:
    project = context.store.projects.find(5, LABEL_STUDIO_URL) or requests_of(context).project
    outcome = project_sync.sync_project(context, project)
    assert outcome is not None
    return outcome.changed_tasks


@pytest.mark.parametrize("data", [{"prompt": "the blue ones"}, {"image": "/data/another.png"}])
def test_a_changed_task_is_predicted_anew_and_once(
    predicted: JobContext, label_studio: Editable, data: dict[str, Any]
) -> None:
    label_studio.edit(1, **data)
    label_studio.edit(2, note="neither prompt nor image")
    label_studio.edit(3, **data)  # requested already, or something else is asked; Label Studio holds nothing
    assert sync(predicted) == 1
    assert predicted.store.progress.counts() == {"published": 2, "requested": 2}
    assert len(live_rows(predicted.connection, GPU, PREDICT)) == 1
    label_studio.edit(1, note="once more")
    assert sync(predicted) == 0


def test_the_task_is_left_alone_where_its_new_prompt_failed(predicted: JobContext, label_studio: Editable) -> None:
    label_studio.edit(1, image=" ")
    assert sync(predicted) == 1
    assert predicted.store.progress.counts() == {"published": 2, "requested": 1, "failed": 1}
    assert sync(predicted) == 0


def test_what_an_annotation_was_made_from_stays(predicted: JobContext, label_studio: Editable) -> None:
    label_studio.create(1)
    label_studio.edit(1, prompt="the blue ones")
    assert sync(predicted) == 0


def test_a_draft_is_left_alone_while_it_lives_and_looked_at_again_when_it_is_discarded(
    predicted: JobContext, label_studio: Editable
) -> None:
    predicted.store.predictions.fail(predicted.store.requests.stale(-1)[0], "not of interest here")
    label_studio.edit(1, prompt="the blue ones")
    label_studio.drafts.add(1)
    assert sync(predicted) == 1 and publish_all(predicted) == ["postponed_for_draft"]
    assert [sync(predicted), sync(predicted)] == [0, 0] and 100 in label_studio.held
    label_studio.drafts.clear()
    assert sync(predicted) == 1
    assert len(live_rows(predicted.connection, PUBLISH, PUBLISH_PREDICTION)) == 1, "it is not computed again"
    assert publish_all(predicted) == ["published"]
    assert [each["result"][0]["id"] for each in label_studio.list_predictions(1)] == ["now"]
    assert sync(predicted) == 0


@pytest.mark.parametrize("prompt", ["the green ones", ""])
def test_a_task_that_changed_again_under_its_draft(predicted: JobContext, label_studio: Editable, prompt: str) -> None:
    """To something else, or back to what it was predicted for."""
    predicted.store.predictions.fail(predicted.store.requests.stale(-1)[0], "not of interest here")
    label_studio.edit(1, prompt="the blue ones")
    label_studio.drafts.add(1)
    assert sync(predicted) == 1 and publish_all(predicted) == ["postponed_for_draft"]
    label_studio.edit(1, prompt=prompt)
    label_studio.drafts.clear()
    assert sync(predicted) == (1 if prompt else 0)
    assert publish_all(predicted, "newest") == (["published"] if prompt else [])
    assert predicted.store.progress.counts().get("postponed_for_draft") is None
    held = [each["result"][0]["id"] for each in label_studio.list_predictions(1)]
    assert held == ["newest" if prompt else "before"]


def test_a_draft_that_is_submitted_keeps_its_prediction(
    predicted: JobContext, label_studio: Editable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it asked about at each sync: annotated tasks only become more. When its annotation is deleted, it is."""
    predicted.store.predictions.fail(predicted.store.requests.stale(-1)[0], "not of interest here")
    label_studio.edit(1, prompt="the blue ones")
    label_studio.drafts.add(1)
    sync(predicted), publish_all(predicted)
    label_studio.drafts.clear()
    annotation = label_studio.create(1)["annotation"]["id"]
    with monkeypatch.context() as patch:
        patch.setattr("worker.reconcile.changed_tasks.find_untouched", pytest.fail)
        assert sync(predicted) == 0 and 100 in label_studio.held
    label_studio.delete(annotation)
    assert sync(predicted) == 1 and publish_all(predicted) == ["published"]
    assert [each["result"][0]["id"] for each in label_studio.list_predictions(1)] == ["now"]


def test_a_label_config_that_cannot_be_used_keeps_no_annotation_from_being_read(
    predicted: JobContext, label_studio: Editable
) -> None:
    predicted.store.projects.upsert(LABEL_STUDIO_URL, 5, "<View/>")
    label_studio.edit(1, prompt="the blue ones")
    assert sync(predicted) == 0


def test_what_is_back_as_it_was_is_sent_once(predicted: JobContext, label_studio: Editable) -> None:
    def send() -> int:
        changed = sync(predicted)
        for row_id in predicted.store.requests.stale(0):
            predicted.store.predictions.finish(row_id, Prediction([], 0.5, "starter"))
        for row_id in predicted.store.predictions.unpublished(0):
            predicted.store.predictions.mark_published(row_id, 200)
        return changed

    label_studio.edit(1, prompt="the blue ones")
    assert send() == 1
    label_studio.edit(1, prompt="")
    assert [send(), send()] == [1, 0]
