import io
import logging
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import wait as wait_for_images
from contextlib import closing
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labeling.errors import DoubtfulImageError, ImageFetchError, ImageOutage, StoreError, UnknownHostError
from labeling.logs import note_what_it_is_about
from labeling.prompts.focus import Focus, Point
from labeling.prompts.interaction import Interaction
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.regions.kinds import region_mask
from labeling.store import Store
from tests.worker.conftest import LABEL_STUDIO_URL, RedisServer, Want, label_config
from worker.context import JobContext
from worker.errors import (
    ModelCrashed,
    ModelLoadError,
    ModelOutOfMemory,
    ModelStopped,
    ModelTimeout,
    SegmentationRefused,
)
from worker.gpu_worker import predictor as predicting
from worker.gpu_worker.batches import BatchedModel
from worker.gpu_worker.model_child import Question
from worker.gpu_worker.model_process import Segmented, SegmentedPrompt
from worker.gpu_worker.predictor import MAX_ATTEMPTS, MOST_ATTEMPTS, SLOW_HOST_INTERVALS_S, Predictor, Result
from worker.queue.queues import PUBLISH, PUBLISH_PREDICTION, live_rows
from worker.queue.retries import RetryLater


@dataclass
class Threshold:
    """Bright pixels, without a process; or an error for a batch that asks a prompt of `errors`."""

    error: Exception | None = None
    errors: dict[str, Exception] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)

    def prepare(self, model: str | None = None) -> None:
        pass

    def segment(self, questions: Sequence[Question], timeout_s: float, model: str | None = None) -> list[Segmented]:
        prompts = [prompt for question in questions for prompt in question.prompts]
        self.calls.append(prompts)
        for error in (self.error, *(self.errors.get(prompt) for prompt in prompts)):
            if isinstance(error, SegmentationRefused):
                return [error for _ in questions]
            if error is not None:
                raise error
        return [self._segment(question) for question in questions]

    def _segment(self, question: Question) -> list[SegmentedPrompt]:
        with Image.open(question.image) as picture:
            bright = np.asarray(picture.convert("L")) > 127
        return [SegmentedPrompt(prompt, bright, 0.75) for prompt in question.prompts]


def predict(context: JobContext, model: Threshold, row_id: int) -> Result:
    """One row, as a worker that has nothing else to do would compute it."""
    return predict_all(context, model, [row_id])[row_id]


def predict_all(context: JobContext, model: Threshold, row_ids: list[int], tasks_at_once: int = 1) -> dict[int, Result]:
    batched = BatchedModel(model, max_tasks=8, timeout_s=10)
    if tasks_at_once > 1:
        batched._measured(cost=1, tasks=1, seconds=1e-6)  # so that the first batch is a large one
    predictor = Predictor(context, batched)
    results = {row_id: result for row_id in row_ids if (result := predictor.begin(row_id)) is not None}
    deadline = time.monotonic() + 20
    while predictor.row_ids:
        assert time.monotonic() < deadline
        if tasks_at_once > 1:
            wait_for_images(predictor._fetches, 10)  # all are here before the first batch, on a busy machine too
        results |= dict(predictor.step())
    predictor.close()
    return results


def test_all_prompts_of_a_task_are_one_model_call_and_one_stored_prediction(
    context: JobContext, store: Store, want: Want
) -> None:
    wanted, segmenter = want("cell", "nucleus"), Threshold()
    assert predict(context, segmenter, wanted.id) == "ready"
    assert segmenter.calls == [["cell", "nucleus"]]
    ready = store.predictions.get(wanted.id)
    assert ready.status == "ready"
    assert ready.result is not None
    assert [region["value"]["brushlabels"] for region in ready.result] == [["l0"], ["l1"]]
    assert region_mask(ready.result[0])[5:15, 5:15].all()
    assert region_mask(ready.result[0]).sum() == 100
    assert ready.score == 0.75
    assert len(store.predictions.regions(wanted.id)) == 2
    image = store.images.of_tasks(wanted.project, [wanted.task_id])[wanted.task_id]
    assert (image.reference, image.width, image.height) == (wanted.task_data["image"], 40, 30)
    assert image.sha256 == sha256(b64decode(image.reference.partition(",")[2])).hexdigest()


def test_the_log_of_a_task_names_it_wherever_it_is_worked_on(
    context: JobContext, want: Want, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(note_what_it_is_about)
    good, bad = want(task_id=7), want(task_id=8, image="data:image/png;base64,AAAA")
    predict_all(context, Threshold(), [good.id, bad.id])
    told = {record.getMessage(): record.about for record in caplog.records if record.name.endswith("predictor")}
    assert len(told) == 2
    for row, about in zip((good, bad), sorted(told.values(), key=lambda about: about["prediction"]), strict=True):
        assert about == {"project": row.project.project_id, "task": row.task_id, "prediction": row.id}


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
    assert (store.predictions.deliver_now(wanted.id) is None) == published


def test_a_result_is_kept_when_redis_is_down(
    context: JobContext, store: Store, want: Want, redis_server: RedisServer
) -> None:
    wanted = want()
    redis_server.kill()
    assert predict(context, Threshold(), wanted.id) == "ready"
    assert store.predictions.get(wanted.id).status == "ready"


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
    failed = store.predictions.get(wanted.id)
    assert (failed.status, failed.error) == ("failed", reason)


@pytest.mark.parametrize("image", ["", "data:image/png;base64,AAAA", "ftp://example.org/image.png"])
def test_an_image_that_cannot_be_had_fails_at_once(context: JobContext, store: Store, want: Want, image: str) -> None:
    wanted, segmenter = want(image=image), Threshold()
    assert predict(context, segmenter, wanted.id) == "failed"
    assert store.predictions.get(wanted.id).error
    assert segmenter.calls == []


def test_nothing_found_of_a_word_that_was_not_taught_is_no_answer(
    context: JobContext, store: Store, want: Want, tmp_path: Path
) -> None:
    """Neither pushed nor given to who waits; what was found is, and so is that a known thing is not there."""
    dark, config = plain_picture(0), tmp_path / "config.json"
    config.write_text('{"known_names": {"cells": ["cell", "cells"]}, "known_words": ["all"]}')
    context = replace(context, settings=context.settings.model_copy(update={"model": str(tmp_path)}))
    for delivery in ("push", "sync"):
        unknown = want("all cells", "alle Hunde", task_id=1, image=dark, delivery=delivery)
        assert predict(context, Threshold(), unknown.id) == "failed"
        assert "'alle', 'hunde'; it knows, for example, cells" in (store.predictions.get(unknown.id).error or "")
        assert store.predictions.deliver_now(unknown.id) is None
    assert live_rows(context.connection, PUBLISH, PUBLISH_PREDICTION) == set()
    assert predict(context, Threshold(), want("all cells", task_id=2, image=dark).id) == "ready"
    assert predict(context, Threshold(), want("alle Hunde", task_id=3).id) == "ready"  # something was found
    config.write_text("{}")  # a model that cannot say what it knows
    assert predict(context, Threshold(), want("alle Hunde", task_id=4, image=dark).id) == "ready"


def plain_picture(grey: int) -> str:
    buffer = io.BytesIO()
    Image.new("L", (40, 30), grey).save(buffer, "PNG")
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode()


def test_a_label_config_that_became_unusable_fails_with_advice(context: JobContext, store: Store, want: Want) -> None:
    wanted = want()
    store.projects.upsert(LABEL_STUDIO_URL, 5, "<View><Header value='none'/></View>")
    assert predict(context, Threshold(), wanted.id) == "failed"
    assert "label config" in (store.predictions.get(wanted.id).error or "")


def test_a_crash_is_tried_three_times_and_then_fails(context: JobContext, store: Store, want: Want) -> None:
    wanted, segmenter = want(), Threshold(ModelCrashed("The model process was ended by SIGSEGV."))
    answers = [predict(context, segmenter, wanted.id) for _ in range(MAX_ATTEMPTS)]
    assert all(isinstance(answer, RetryLater) for answer in answers[:-1])
    assert answers[-1] == "failed"
    assert store.predictions.get(wanted.id).error == "The model process was ended by SIGSEGV."
    assert want().status == "requested"  # asked for again, it begins again
    assert predict(context, Threshold(), wanted.id) == "ready"


def test_a_task_that_kills_its_worker_is_given_up(context: JobContext, store: Store, want: Want) -> None:
    wanted = want()
    for _ in range(MAX_ATTEMPTS):
        store.requests.begin(wanted.id)
    assert predict(context, Threshold(), wanted.id) == "failed"
    assert "3 times" in (store.predictions.get(wanted.id).error or "")


def test_a_task_that_kills_its_worker_after_an_outage_is_given_up_too(
    context: JobContext, store: Store, want: Want
) -> None:
    wanted = want()
    store.requests.begin(wanted.id)
    store.requests.postpone(wanted.id, "An outage.")
    for _ in range(MOST_ATTEMPTS):
        store.requests.begin(wanted.id)
    assert predict(context, Threshold(), wanted.id) == "failed"
    assert "again and again" in (store.predictions.get(wanted.id).error or "")


def test_an_image_that_its_host_alone_does_not_give_is_tried_for_an_hour(
    context: JobContext, store: Store, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> Path:
        raise ImageFetchError("The image's host is slow.", is_transient=True)

    monkeypatch.setattr(predicting, "fetch_image", away)
    wanted = want()
    answers = [predict(context, Threshold(), wanted.id) for _ in SLOW_HOST_INTERVALS_S]
    assert all(isinstance(answer, RetryLater) and answer.after_s[0] > 0 for answer in answers)
    waiting = store.predictions.get(wanted.id)
    assert (waiting.status, waiting.error) == ("requested", "The image's host is slow.")
    assert predict(context, Threshold(), wanted.id) == "failed"


def test_an_outage_never_fails_a_task_and_counts_for_no_try(
    context: JobContext,
    store: Store,
    want: Want,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    troubles: list[Exception] = [ImageOutage("Label Studio answered 401.")] * 15

    def fetch(*_: object, **__: object) -> Path:
        raise troubles.pop(0)

    monkeypatch.setattr(predicting, "fetch_image", fetch)
    wanted = want()
    answers = [predict(context, Threshold(), wanted.id) for _ in range(15)]
    assert all(isinstance(answer, RetryLater) and max(answer.after_s) <= 60 for answer in answers)
    assert caplog.text.count("is postponed") == 1, "it is told once"
    waiting = store.predictions.get(wanted.id)
    assert (waiting.status, waiting.error, waiting.attempts) == ("requested", "Label Studio answered 401.", 0)
    troubles += [DoubtfulImageError("What came is a web page.")] * 3
    answers = [predict(context, Threshold(), wanted.id) for _ in range(3)]
    assert [isinstance(answer, RetryLater) for answer in answers] == [True, True, False], "its own three tries"
    assert store.predictions.get(wanted.id).error == "What came is a web page."


def test_a_host_that_does_not_exist_is_given_up_sooner(
    context: JobContext, store: Store, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> Path:
        raise UnknownHostError("The image's host 'imags.example' is not known.", is_transient=True)

    monkeypatch.setattr(predicting, "fetch_image", unknown)
    wanted = want()
    answers = [predict(context, Threshold(), wanted.id) for _ in range(3)]
    assert all(isinstance(answer, RetryLater) for answer in answers)
    assert predict(context, Threshold(), wanted.id) == "failed"
    assert "imags.example" in (store.predictions.get(wanted.id).error or "")


def test_masks_that_cannot_be_written_are_tried_later(
    context: JobContext, store: Store, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is no fault of the task's: it does not count as a worker that died over it."""

    def fail(_: object) -> None:
        raise StoreError("The disk is full.", is_transient=True)

    wanted = want()
    monkeypatch.setattr(store.blobs, "put_masks", fail)
    for _ in range(MAX_ATTEMPTS + 1):
        assert isinstance(predict(context, Threshold(), wanted.id), RetryLater)
    assert store.predictions.get(wanted.id).status == "requested"
    assert store.predictions.get(wanted.id).error == "The disk is full."
    monkeypatch.undo()
    assert predict(context, Threshold(), wanted.id) == "ready"


@pytest.mark.parametrize("broken", ["no image", "refused"])
def test_a_store_that_fails_ends_the_row_and_not_the_worker(
    context: JobContext, store: Store, want: Want, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object) -> None:
        raise StoreError("The database is locked.", is_transient=True)

    bad = want(image="/data/upload/nowhere.png") if broken == "no image" else want("poison")
    monkeypatch.setattr(store.predictions, "fail", fail)
    monkeypatch.setattr(store.requests, "note_delay", fail)
    model = Threshold(errors={"poison": SegmentationRefused("It is no image.")})
    assert isinstance(predict(context, model, bad.id), StoreError)
    assert store.predictions.get(bad.id).status == "requested"


def test_a_row_that_cannot_be_put_back_stays_in_hand(
    context: JobContext, store: Store, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise StoreError("The database is locked.", is_transient=True)

    wanted = want()
    with closing(Predictor(context, BatchedModel(Threshold(), max_tasks=8, timeout_s=10))) as predictor:
        predictor.begin(wanted.id)
        monkeypatch.setattr(store.requests, "put_back", fail)
        with pytest.raises(StoreError):
            predictor.put_back(wanted.id)
        assert predictor.row_ids == [wanted.id]


def test_a_batch_is_one_call_and_each_row_gets_its_own_answers(context: JobContext, store: Store, want: Want) -> None:
    rows, model = [want("cell", "nucleus", task_id=number) for number in range(4)], Threshold()
    assert set(predict_all(context, model, [row.id for row in rows], tasks_at_once=8).values()) == {"ready"}
    assert model.calls == [["cell", "nucleus"] * 4]
    assert all(len(store.predictions.regions(row.id)) == 2 for row in rows)


@pytest.mark.parametrize("error", [ModelCrashed("It crashed."), ModelTimeout("It hung.")])
def test_a_poison_row_fails_alone(context: JobContext, store: Store, want: Want, error: Exception) -> None:
    rows = [want("poison" if number == 2 else "cell", task_id=number) for number in range(4)]
    model = Threshold(errors={"poison": error})
    results = predict_all(context, model, [row.id for row in rows], tasks_at_once=8)
    assert [results[row.id] for row in (rows[0], rows[1], rows[3])] == ["ready"] * 3
    assert model.calls[0] == ["cell", "cell", "poison", "cell"]
    assert sorted(model.calls[1:]) == [["cell"]] * 3 + [["poison"]]
    for _ in range(MAX_ATTEMPTS - 1):
        predict(context, model, rows[2].id)
    poison = store.predictions.get(rows[2].id)
    assert (poison.status, poison.error) == ("failed", str(error))


def test_what_killed_its_worker_is_tried_alone(context: JobContext, store: Store, want: Want) -> None:
    rows, model = [want(str(number), task_id=number) for number in range(3)], Threshold()
    store.requests.begin(rows[1].id)
    predict_all(context, model, [row.id for row in rows], tasks_at_once=8)
    assert model.calls == [["0", "2"], ["1"]]


def test_a_batch_that_runs_out_of_memory_is_halved_and_the_size_is_remembered(
    context: JobContext, store: Store, want: Want
) -> None:
    class Small(Threshold):
        def segment(self, questions: Sequence[Question], timeout_s: float, model: str | None = None) -> list[Segmented]:
            answers = super().segment(questions, timeout_s, model)
            if len(questions) > 2 or any("huge" in question.prompts for question in questions):
                raise ModelOutOfMemory("There is not enough memory.")
            return answers

    rows = [want("huge" if number == 7 else "cell", task_id=number) for number in range(12)]
    model = Small()
    results = predict_all(context, model, [row.id for row in rows], tasks_at_once=8)
    assert [results[row.id] for row in rows[:7] + rows[8:]] == ["ready"] * 11
    assert isinstance(results[rows[7].id], RetryLater)  # memory may be short because of others
    assert [len(call) for call in model.calls] == [8, 4, 2, 2, 4, 2, 2, 1, 1, 2, 2]
    for _ in range(MAX_ATTEMPTS - 1):
        predict(context, model, rows[7].id)
    assert store.predictions.get(rows[7].id).error == "There is not enough memory."


def delay_images(monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float]) -> None:
    """The images of a task come so many seconds late."""
    fetch = predicting.fetch_image

    def slow(reference: str, *args: Any, task_id: int, **options: Any) -> Path:
        time.sleep(seconds(task_id))
        return fetch(reference, *args, task_id=task_id, **options)

    monkeypatch.setattr(predicting, "fetch_image", slow)


def test_a_slow_image_holds_nobody_up(context: JobContext, want: Want, monkeypatch: pytest.MonkeyPatch) -> None:
    delay_images(monkeypatch, lambda task_id: 1.0 if task_id == 0 else 0.0)
    rows = [want(task_id=number) for number in range(3)]
    results = predict_all(context, Threshold(), [row.id for row in rows])
    assert list(results) == [rows[1].id, rows[2].id, rows[0].id]


def test_an_urgent_row_goes_first_and_alone(context: JobContext, want: Want) -> None:
    rows, model = [want(str(number), task_id=number) for number in range(4)], Threshold()
    batched = BatchedModel(model, max_tasks=8, timeout_s=10)
    batched._measured(cost=1, tasks=1, seconds=1e-6)
    with closing(Predictor(context, batched)) as predictor:
        for row in rows[:2]:
            predictor.begin(row.id)
        for row in rows[2:]:
            predictor.begin(row.id, is_urgent=True)
        assert predictor.is_urgent_ready
        wait_for_images(predictor._fetches)  # on a busy machine one may come after the other, and go alone
        finish(predictor)
        assert not predictor.is_urgent_ready
    assert [sorted(call) for call in model.calls] == [["2"], ["3"], ["0", "1"]]


def finish(predictor: Predictor) -> list[int]:
    """The rows in hand in the order in which they become ready."""
    ended, deadline = [], time.monotonic() + 20
    while predictor.row_ids:
        assert time.monotonic() < deadline
        for row_id, result in predictor.step():
            assert result == "ready"
            ended.append(row_id)
    return ended


def test_a_slow_image_of_an_opened_task_holds_nobody_up(
    context: JobContext, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay_images(monkeypatch, lambda task_id: 2.0 if task_id == 0 else 0.0)
    slow, queued, opened = [want(task_id=number) for number in range(3)]
    with closing(Predictor(context, BatchedModel(Threshold(), max_tasks=8, timeout_s=10))) as predictor:
        began = time.monotonic()
        predictor.begin(slow.id, is_urgent=True)
        predictor.begin(queued.id)
        assert time.monotonic() - began < 1
        while queued.id in predictor.row_ids:
            assert dict(predictor.step()).items() <= {queued.id: "ready"}.items()
        predictor.begin(opened.id, is_urgent=True)
        assert finish(predictor) == [opened.id, slow.id]


def test_an_urgent_image_does_not_wait_for_the_others(
    context: JobContext, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay_images(monkeypatch, lambda task_id: 0.0 if task_id == 20 else 2.0)
    rows = [want(task_id=number) for number in range(21)]
    with closing(Predictor(context, BatchedModel(Threshold(), max_tasks=8, timeout_s=10))) as predictor:
        for row in rows[:20]:
            predictor.begin(row.id)
        predictor.begin(rows[20].id, is_urgent=True)
        assert finish(predictor)[0] == rows[20].id


def test_rows_of_other_weights_are_other_batches_and_fail_with_their_model(
    context: JobContext, store: Store, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobContext, "model_of", lambda self, wanted: ["starter", "/gone"][wanted.task_id % 2])

    class Models(Threshold):
        def prepare(self, model: str | None = None) -> None:
            if model == "/gone":
                raise ModelLoadError("The model '/gone' could not be loaded: there is none.")

    rows, model = [want(task_id=number) for number in range(4)], Models()
    results = predict_all(context, model, [row.id for row in rows], tasks_at_once=8)
    assert [results[row.id] for row in rows] == ["ready", "failed", "ready", "failed"]
    assert len(model.calls) == 1
    assert "/gone" in (store.predictions.get(rows[1].id).error or "")


def test_a_model_that_cannot_be_loaded_leaves_the_task_wanted(context: JobContext, store: Store, want: Want) -> None:
    wanted = want()
    assert isinstance(predict(context, Threshold(ModelLoadError("The GPU is gone.")), wanted.id), ModelLoadError)
    assert store.predictions.get(wanted.id).status == "requested"


def test_a_stop_leaves_the_rows_in_hand(context: JobContext, store: Store, want: Want) -> None:
    rows = [want(task_id=number) for number in range(2)]
    predictor = Predictor(context, BatchedModel(Threshold(ModelStopped("Stopped.")), max_tasks=8, timeout_s=10))
    for row in rows:
        predictor.begin(row.id)
    with pytest.raises(ModelStopped):
        list(predictor.step())
    assert sorted(predictor.row_ids) == [row.id for row in rows]
    predictor.drop(rows[0].id, "Stopped.")
    assert isinstance(predictor.put_back(rows[1].id), RetryLater)
    assert predictor.row_ids == []
    assert [store.predictions.get(row.id).status for row in rows] == ["failed", "requested"]
    assert store.predictions.get(rows[1].id).attempts == 0
    predictor.close()


def test_an_answer_that_nobody_waits_for_is_not_computed(context: JobContext, store: Store, want: Want) -> None:
    wanted, segmenter = want(delivery="sync", interactive=True), Threshold()
    store.predictions.deliver_now(wanted.id)
    assert predict(context, segmenter, wanted.id) == "failed"
    assert segmenter.calls == []


def test_an_answer_whose_waiter_died_is_not_computed(context: JobContext, store: Store, want: Want) -> None:
    wanted, model = want(delivery="sync", interactive=True), Threshold()
    settings = context.settings.model_copy(update={"interactive_wait_s": 0.0})
    assert predict(replace(context, settings=settings), model, wanted.id) == "failed"
    assert model.calls == []


def test_what_held_up_an_answer_that_nobody_waits_for_is_told(context: JobContext, store: Store, want: Want) -> None:
    wanted = want(delivery="sync", interactive=True)
    store.requests.note_delay(wanted.id, "There is not enough memory.")
    store.predictions.deliver_now(wanted.id)
    assert predict(context, Threshold(), wanted.id) == "failed"
    assert (store.predictions.get(wanted.id).error or "").startswith("There is not enough memory. Nobody waits")


@dataclass
class Tiled(Threshold):
    """Sees what is in the window only; of a second look may come an error, or nothing."""

    second: str = "good"
    windows: list[tuple[int, int, int, int] | None] = field(default_factory=list)

    def segment(self, questions: Sequence[Question], timeout_s: float, model: str | None = None) -> list[Segmented]:
        self.windows += [question.window for question in questions]
        if len(self.windows) > 1 and self.second == "error":
            raise ModelOutOfMemory("There is not enough memory.")
        return super().segment(questions, timeout_s, model)

    def _segment(self, question: Question) -> list[SegmentedPrompt]:
        seen = np.zeros_like(super()._segment(question)[0].mask)
        if question.window is not None and (len(self.windows) == 1 or self.second == "good"):
            left, top, right, bottom = question.window
            seen[top:bottom, left:right] = True
        return [replace(answer, mask=answer.mask & seen) for answer in super()._segment(question)]


@pytest.mark.parametrize(("second", "found"), [("good", 300 * 20), ("error", 200 * 20), ("nothing", 200 * 20)])
def test_an_object_that_goes_beyond_what_was_looked_at_is_looked_at_once_more(
    context: JobContext, store: Store, second: str, found: int
) -> None:
    pixels = np.zeros((300, 800), np.uint8)
    pixels[140:160, 250:550] = 255
    config = label_config("bright")
    project = store.projects.upsert(LABEL_STUDIO_URL, 5, config)
    picture = io.BytesIO()
    Image.fromarray(pixels).save(picture, "PNG")
    data = {"image": "data:image/png;base64," + b64encode(picture.getvalue()).decode()}
    asked = Interaction(focus=Focus(points=(Point(50, 50),)), label="l0")
    plan = plan_prompts(parse_label_config(config), data, asked)
    wanted = store.requests.add(project, 1, data, plan, "tiled · 1", delivery="sync", interactive=True)
    model = Tiled(second=second)
    assert predict(context, model, wanted.id) == "ready"
    assert model.windows == [(300, 50, 500, 250), (144, 50, 656, 250)]
    [region] = store.predictions.get(wanted.id).result or []
    assert region_mask(region).sum() == found
