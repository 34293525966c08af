"""What goes by age, and what never does."""

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from labeling.predictions import PredictedMask, build_prediction
from labeling.regions.cropped_mask import CroppedMask
from labeling.settings import Settings
from labeling.store import Store
from labeling.store.events import EventRow
from labeling.store.predictions.tables import PredictionRow
from tests.worker.conftest import Want, bright_square
from tests.worker.label_studio_double import CONFIG, LabelStudioDouble
from worker.context import JobContext
from worker.events.process import process_event
from worker.retention import prune

LONG_AGO = datetime.now(UTC) - timedelta(days=91)


@pytest.fixture
def corrected(settings: Settings, store: Store) -> Store:
    """A correction of an event that came long ago, an event of which nothing came, and one that is not processed."""
    url = str(settings.label_studio_url)
    store.projects.upsert(url, 5, CONFIG)
    payload = LabelStudioDouble().create(1)
    payload["task"]["data"] = {"image": bright_square()}
    for region in payload["annotation"]["result"]:
        region |= {"original_width": 40, "original_height": 30}
    context = JobContext(settings, store, None, None)  # type: ignore[arg-type]
    process_event(context, store.events.record(payload["action"], payload, label_studio_url=url))
    store.events.mark_processed(store.events.record("PROJECT_UPDATED", {}))
    store.events.record("ANNOTATION_CREATED", {})
    with store.database.writing() as session:
        session.execute(update(EventRow).where(EventRow.processed_at.is_not(None)).values(processed_at=LONG_AGO))
    return store


def test_events_go_and_the_corrections_that_came_of_them_stay(settings: Settings, corrected: Store) -> None:
    before = corrected.corrections.of_project(5)
    assert before and prune(settings, corrected, dry_run=True).events == 2
    assert corrected.events.get(1).payload["annotation"], "a dry run changes nothing"
    assert prune(settings, corrected).events == 2
    assert corrected.events.get(1).payload == {"pruned": True}
    assert corrected.events.get(3).processed_at is None, "what is not processed stays, however old"
    assert corrected.corrections.of_project(5) == before
    assert all(corrected.corrections.read_mask(each.mask_after).any() for each in before if each.mask_after)
    assert prune(settings, corrected).events == 0


def test_nothing_goes_that_is_kept_for_ever(settings: Settings, corrected: Store) -> None:
    for_ever = settings.model_copy(update={"keep_events_days": 0, "keep_answers_days": 0, "keep_cached_images_days": 0})
    assert str(prune(for_ever, corrected)).startswith("0 events, 0 answers on the page, 0 cached images")


def test_answers_on_the_page_go_and_what_was_sent_stays(settings: Settings, store: Store, want: Want) -> None:
    typed, fresh, sent = want(interactive=True), want(interactive=True, task_id=2), want(task_id=3)
    for row in (typed, fresh, sent):
        store.predictions.fail(row.id, "no reason")
    with store.database.writing() as session:
        old = update(PredictionRow).where(PredictionRow.id.in_([typed.id, sent.id]))
        session.execute(old.values(updated_at=LONG_AGO))
    assert prune(settings, store).answers == 1
    assert store.progress.counts() == {"failed": 2} and store.predictions.get(fresh.id).task_id == 2


def test_an_answer_that_was_taken_stays_so_that_a_later_change_is_compared_with_it(
    settings: Settings, store: Store, want: Want
) -> None:
    url, drawn = str(settings.label_studio_url), np.zeros((30, 40), np.bool_)
    drawn[5:15, 5:15] = True
    taken: dict[str, Any] = {}
    for task_id, mask in ((1, drawn), (2, ~drawn)):
        typed = want("bright thing", task_id=task_id, interactive=True, delivery="sync")
        found = PredictedMask("l0", "bright thing", "tag", "image", "brushlabels", CroppedMask.of(mask), 0.9)
        answer = build_prediction([found], "threshold · 1", 40, 30)
        store.predictions.finish(typed.id, answer)
        store.predictions.deliver_now(typed.id)
        taken = answer.result[0] if task_id == 1 else taken
    context = JobContext(settings, store, None, None)  # type: ignore[arg-type]

    def submit(action: str, at: str) -> list[str]:
        annotation = {"id": 7, "task": 1, "completed_by": 1, "updated_at": at, "result": [taken]}
        project = {"id": 5, "label_config": typed.project.label_config}
        payload = {"action": action, "annotation": annotation, "project": project}
        process_event(context, store.events.record(action, payload, label_studio_url=url))
        return [f"{each.kind}: {each.prompt}" for each in store.corrections.of_project(5)]

    assert submit("ANNOTATION_CREATED", "2026-08-01T00:00:00Z") == ["accepted: bright thing"]
    with store.database.writing() as session:
        session.execute(update(PredictionRow).values(updated_at=LONG_AGO))
    assert prune(settings, store).answers == 1
    assert submit("ANNOTATION_UPDATED", "2026-11-20T00:00:00Z") == ["accepted: bright thing"]


def test_cached_images_that_nobody_used_go(settings: Settings, store: Store) -> None:
    settings.image_cache.mkdir()
    old, new, other = (settings.image_cache / name for name in ("a" * 64, "b" * 64, "total"))
    for file in (old, new, other):
        file.write_bytes(b"12345")
    for file in (old, other):
        os.utime(file, (time.time() - 91 * 86400,) * 2)
    assert (prune(settings, store, dry_run=True).image_bytes, old.exists()) == (5, True)
    assert prune(settings, store).images == 1
    assert not old.exists() and new.exists() and other.exists()


def test_a_cached_image_that_goes_meanwhile_stops_nothing(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.image_cache.mkdir()
    old, gone = settings.image_cache / ("a" * 64), settings.image_cache / ("b" * 64)
    old.write_bytes(b"12345")
    os.utime(old, (time.time() - 91 * 86400,) * 2)
    monkeypatch.setattr(type(old), "iterdir", lambda folder: iter([gone, old]))
    assert prune(settings, store).images == 1 and not old.exists()


def test_a_mask_that_somebody_is_about_to_name_again_stays(settings: Settings, store: Store, want: Want) -> None:
    masks = [np.zeros((30, 40), np.bool_) for _ in range(2)]
    masks[0][5:15, 5:15] = masks[1][20:25, 5:15] = True
    typed = want("bright thing", interactive=True, delivery="sync")
    found = [PredictedMask("l0", "x", "tag", "image", "brushlabels", CroppedMask.of(mask), 0.9) for mask in masks]
    store.predictions.finish(typed.id, build_prediction(found, "threshold · 1", 40, 30))
    store.predictions.deliver_now(typed.id)
    for file in settings.data_dir.glob("blobs/*/*"):
        os.utime(file, (time.time() - 91 * 86400,) * 2)
    with store.database.writing() as session:
        session.execute(update(PredictionRow).values(updated_at=LONG_AGO))
    named = store.blobs.put_mask(masks[0])  # and a correction with it is committed a moment later
    assert prune(settings, store).answers == 1
    assert list(store.blobs.digests()) == [named]
