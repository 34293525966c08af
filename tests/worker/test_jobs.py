from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rq import Retry

from labeling.errors import ImageFetchError
from labeling.regions.brush import brush_mask
from labeling.store.store import Store
from tests.worker.conftest import LABEL_STUDIO_URL, RedisServer, Want, label_config
from worker import jobs
from worker.errors import ModelCrashed, ModelLoadError, ModelStopped, ModelTimeout, SegmentationRefused
from worker.gpu_worker.model_process import SegmentedPrompt
from worker.jobs import MAX_ATTEMPTS, JobContext, predict
from worker.queues import GPU, PREDICT, PUBLISH, PUBLISH_PREDICTION, live_rows


@dataclass
class Threshold:
    """Bright pixels, without a process; or an error."""

    error: Exception | None = None
    calls: list[list[str]] = field(default_factory=list)

    def segment(self, image: Path, prompts: Sequence[str], timeout_s: float) -> list[SegmentedPrompt]:
        self.calls.append(list(prompts))
        if self.error is not None:
            raise self.error
        with Image.open(image) as picture:
            bright = np.asarray(picture.convert("L")) > 127
        return [SegmentedPrompt(prompt, bright, 0.75) for prompt in prompts]


def test_all_prompts_of_a_task_are_one_model_call_and_one_stored_prediction(
    context: JobContext, store: Store, want: Want
) -> None:
    wanted, segmenter = want("cell", "nucleus"), Threshold()
    assert predict(context, segmenter, wanted.id) == "ready"
    assert segmenter.calls == [["cell", "nucleus"]]
    ready = store.get_prediction(wanted.id)
    assert ready.status == "ready"
    assert ready.result is not None
    assert [region["value"]["brushlabels"] for region in ready.result] == [["l0"], ["l1"]]
    assert brush_mask(ready.result[0])[5:15, 5:15].all()
    assert brush_mask(ready.result[0]).sum() == 100
    assert ready.score == 0.75
    assert len(store.predicted_regions(wanted.id)) == 2


def test_a_job_that_runs_twice_computes_once(context: JobContext, want: Want) -> None:
    wanted, segmenter = want(), Threshold()
    predict(context, segmenter, wanted.id)
    assert predict(context, segmenter, wanted.id) == "nothing to do"
    assert len(segmenter.calls) == 1


@pytest.mark.parametrize(("delivery", "published"), [("push", True), ("sync", False)])
def test_a_result_goes_to_the_publisher_or_to_its_waiter(
    context: JobContext, store: Store, want: Want, delivery: str, published: bool
) -> None:
    wanted = want(delivery=delivery)
    predict(context, Threshold(), wanted.id)
    assert live_rows(context.connection, PUBLISH, PUBLISH_PREDICTION) == ({wanted.id} if published else set())
    assert (store.deliver_now(wanted.id) is None) == published


def test_a_result_is_kept_when_redis_is_down(
    context: JobContext, store: Store, want: Want, redis_server: RedisServer
) -> None:
    wanted = want()
    redis_server.kill()
    assert predict(context, Threshold(), wanted.id) == "ready"
    assert store.get_prediction(wanted.id).status == "ready"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SegmentationRefused("The image is damaged."), "The image is damaged."),
        (ModelTimeout("No answer in 300 s."), "No answer in 300 s."),
    ],
)
def test_what_the_image_cannot_do_fails_at_once_with_its_reason(
    context: JobContext, store: Store, want: Want, error: Exception, reason: str
) -> None:
    wanted = want()
    assert predict(context, Threshold(error), wanted.id) == "failed"
    failed = store.get_prediction(wanted.id)
    assert (failed.status, failed.error) == ("failed", reason)


@pytest.mark.parametrize("image", ["", "data:image/png;base64,AAAA", "ftp://example.org/image.png"])
def test_an_image_that_cannot_be_had_fails_at_once(context: JobContext, store: Store, want: Want, image: str) -> None:
    wanted, segmenter = want(image=image), Threshold()
    assert predict(context, segmenter, wanted.id) == "failed"
    assert store.get_prediction(wanted.id).error
    assert segmenter.calls == []


def test_a_label_config_that_became_unusable_fails_with_advice(context: JobContext, store: Store, want: Want) -> None:
    wanted = want()
    store.upsert_project(LABEL_STUDIO_URL, 5, "<View><Header value='none'/></View>")
    assert predict(context, Threshold(), wanted.id) == "failed"
    assert "label config" in (store.get_prediction(wanted.id).error or "")


def test_a_crash_is_tried_three_times_and_then_fails(context: JobContext, store: Store, want: Want) -> None:
    wanted, segmenter = want(), Threshold(ModelCrashed("The model process was ended by SIGSEGV."))
    answers = [predict(context, segmenter, wanted.id) for _ in range(MAX_ATTEMPTS)]
    assert all(isinstance(answer, Retry) and answer.enqueue_at_front for answer in answers[:-1])
    assert answers[-1] == "failed"
    assert store.get_prediction(wanted.id).error == "The model process was ended by SIGSEGV."
    assert want().status == "wanted"  # asked for again, it begins again
    assert predict(context, Threshold(), wanted.id) == "ready"


def test_a_task_that_kills_its_worker_is_given_up(context: JobContext, store: Store, want: Want) -> None:
    wanted = want()
    for _ in range(MAX_ATTEMPTS):
        store.begin_prediction(wanted.id)
    assert predict(context, Threshold(), wanted.id) == "failed"
    assert "3 times" in (store.get_prediction(wanted.id).error or "")


def test_an_image_server_that_is_away_is_tried_later(
    context: JobContext, store: Store, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> Path:
        raise ImageFetchError("Label Studio does not answer.", is_transient=True)

    monkeypatch.setattr(jobs, "fetch_image", away)
    wanted = want()
    answers = [predict(context, Threshold(), wanted.id) for _ in range(MAX_ATTEMPTS)]
    assert isinstance(answers[0], Retry)
    assert answers[0].intervals[0] > 0
    assert answers[-1] == "failed"


def test_a_model_that_cannot_be_loaded_leaves_the_task_wanted(context: JobContext, store: Store, want: Want) -> None:
    wanted = want()
    with pytest.raises(ModelLoadError):
        predict(context, Threshold(ModelLoadError("The GPU is gone.")), wanted.id)
    assert store.get_prediction(wanted.id).status == "wanted"


def test_a_stopped_job_fails_its_task(context: JobContext, store: Store, want: Want) -> None:
    wanted = want()
    with pytest.raises(ModelStopped):
        predict(context, Threshold(ModelStopped("The job was stopped.")), wanted.id)
    assert store.get_prediction(wanted.id).status == "failed"


def test_an_answer_that_nobody_waits_for_is_not_computed(context: JobContext, store: Store, want: Want) -> None:
    wanted, segmenter = want(delivery="sync", interactive=True), Threshold()
    store.deliver_now(wanted.id)
    assert predict(context, segmenter, wanted.id) == "failed"
    assert segmenter.calls == []


def test_an_event_of_new_tasks_makes_them_wanted(context: JobContext, store: Store) -> None:
    project = {"id": 5, "label_config": label_config("cell")}
    tasks = [{"id": number, "data": {"image": "/data/upload/1.png"}} for number in (1, 2)]
    event_id = store.record_event("TASKS_CREATED", {"action": "TASKS_CREATED", "project": project, "tasks": tasks})
    settings = context.settings.model_copy(update={"model": str(context.settings.data_dir)})
    jobs.process_event(replace(context, settings=settings), event_id)
    assert store.counts() == {"wanted": 2}
    assert len(live_rows(context.connection, GPU, PREDICT)) == 2
    assert store.get_event(event_id).processed_at is not None
