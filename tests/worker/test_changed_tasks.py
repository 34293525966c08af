"""A task whose prompt or image is changed in Label Studio, which tells nobody, is predicted anew."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from labeling.label_studio.messages import Task
from labeling.predictions import Prediction
from labeling.store.store import Store
from tests.worker.conftest import LABEL_STUDIO_URL
from tests.worker.label_studio_double import CONFIG, LabelStudioDouble
from worker import reconcile
from worker.jobs import JobContext
from worker.queues import GPU, PREDICT, live_rows
from worker.wishes import Wishes


@dataclass
class Editable(LabelStudioDouble):
    """Tasks whose data can be changed; each holds a prediction."""

    data: dict[int, dict[str, Any]] = field(default_factory=dict)

    def edit(self, task_id: int, **data: Any) -> None:
        self.data[task_id] = self._task(task_id)["data"] | data
        self._changed[task_id] = self._now()

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
    for number, row in enumerate(wishes(predicted).want_all([task(label_studio, each) for each in (1, 2, 3)])):
        if number < 2:
            store.finish_prediction(row.id, Prediction([], 0.5, row.model_version))
            store.mark_published(row.id, 100 + number)
    assert sync(predicted) == 0
    return predicted


def wishes(context: JobContext) -> Wishes:
    return Wishes(context.settings, context.store, 5, CONFIG)


def task(label_studio: Editable, task_id: int) -> Task:
    return Task.model_validate(label_studio.get_task(task_id))


def sync(context: JobContext) -> int:
    project = context.store.find_project(5, LABEL_STUDIO_URL) or wishes(context).project
    outcome = reconcile.sync_project(context, project)
    assert outcome is not None
    return outcome.changed_tasks


@pytest.mark.parametrize("data", [{"prompt": "the blue ones"}, {"image": "/data/another.png"}])
def test_a_changed_task_is_predicted_anew_and_once(
    predicted: JobContext, label_studio: Editable, data: dict[str, Any]
) -> None:
    label_studio.edit(1, **data)
    label_studio.edit(2, note="neither prompt nor image")
    label_studio.edit(3, **data)  # its wish is under way or asks something else, and Label Studio holds nothing of it
    assert sync(predicted) == 1
    assert predicted.store.counts() == {"published": 2, "wanted": 2}
    assert len(live_rows(predicted.connection, GPU, PREDICT)) == 1
    label_studio.edit(1, note="once more")
    assert sync(predicted) == 0


def test_the_task_is_left_alone_where_its_new_prompt_failed(predicted: JobContext, label_studio: Editable) -> None:
    label_studio.edit(1, image=" ")
    assert sync(predicted) == 1
    assert predicted.store.counts() == {"published": 2, "wanted": 1, "failed": 1}
    assert sync(predicted) == 0


def test_what_an_annotation_was_made_from_stays(predicted: JobContext, label_studio: Editable) -> None:
    label_studio.create(1)
    label_studio.edit(1, prompt="the blue ones")
    assert sync(predicted) == 0


def test_a_label_config_that_cannot_be_used_keeps_no_annotation_from_being_read(
    predicted: JobContext, label_studio: Editable
) -> None:
    predicted.store.upsert_project(LABEL_STUDIO_URL, 5, "<View/>")
    label_studio.edit(1, prompt="the blue ones")
    assert sync(predicted) == 0


def test_what_is_back_as_it_was_is_sent_once(predicted: JobContext, label_studio: Editable) -> None:
    def send() -> int:
        changed = sync(predicted)
        for row_id in predicted.store.stale_predictions(0):
            predicted.store.finish_prediction(row_id, Prediction([], 0.5, "starter"))
        for row_id in predicted.store.unpublished_predictions(0):
            predicted.store.mark_published(row_id, 200)
        return changed

    label_studio.edit(1, prompt="the blue ones")
    assert send() == 1
    label_studio.edit(1, prompt="")
    assert [send(), send()] == [1, 0]
