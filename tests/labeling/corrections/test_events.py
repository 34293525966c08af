"""From a stored event to stored corrections, on a real store."""

import copy
import errno
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.corrections.events import record_corrections
from labeling.errors import StoreError
from labeling.predictions import PredictedMask, PredictedRegion, Prediction, build_prediction
from labeling.prompts.plan import PromptPlan
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.kinds import region_mask
from labeling.store import CorrectionFilter, Store

URL = "http://label-studio:8080"
LATER = "2026-11-22T10:00:00Z"


@pytest.fixture
def browser_event(recorded) -> dict[str, Any]:
    """An annotation of task 4 of project 1, begun from prediction 619, in which "br255" was erased a little."""
    return recorded("requests/webhook_annotation_created_in_browser_brush")["json"]


@pytest.fixture
def published(store: Store, recorded, plan: PromptPlan) -> np.ndarray:
    """Prediction 619 of task 4 as we made it, with the region that the browser edited and another; the mask of both."""
    region = recorded("regions")["brush255"]
    mask = region_mask(region)
    project = store.projects.upsert(URL, 1, recorded("requests/setup")["json"]["schema"])
    request = store.requests.add(project, 4, {}, plan, "v1", delivery="push")
    regions = tuple(PredictedRegion(name, "red", "red ball", 0.91, CroppedMask.of(mask)) for name in ("br255", "other"))
    store.predictions.finish(request.id, Prediction([region, region | {"id": "other"}], 0.91, "v1", regions))
    store.predictions.mark_published(request.id, 619)
    return mask


def process(store: Store, payload: dict[str, Any], action: str | None = None) -> int:
    event_id = store.events.record(action or payload["action"], payload, label_studio_url=URL)
    return record_corrections(store, event_id).total()


def last_event(store: Store, event_id: int = 1) -> Any:
    return store.events.get(event_id)


def many_cells(count: int, moved: int = 0) -> Prediction:
    """Brush regions of 60 x 50 px, `moved` px to the right, on an image of 12 megapixels."""
    places = [divmod(number, 40) for number in range(count)]
    shapes = [
        CroppedMask(np.ones((50, 60), np.bool_), 10 + row * 70, 10 + column * 90 + moved, 3000, 4000)
        for row, column in places
    ]
    masks = [PredictedMask("red", "red ball", "tag", "image", "brushlabels", shape, 0.9) for shape in shapes]
    return build_prediction(masks, "v1", 4000, 3000)


def test_many_regions_of_a_large_image_take_little_memory(store: Store, recorded, plan: PromptPlan) -> None:
    """Of 300, a third was left as it was, a third edited, a third drawn anew: whole masks would take 7 GB."""
    project = store.projects.upsert(URL, 1, recorded("requests/setup")["json"]["schema"])
    request = store.requests.add(project, 4, {}, plan, "v1", delivery="push")
    ours, theirs = many_cells(300), many_cells(300, moved=6).result
    store.predictions.finish(request.id, ours)
    store.predictions.mark_published(request.id, 619)
    edited = [new | {"id": old["id"]} for old, new in zip(ours.result[100:200], theirs[100:200], strict=True)]
    annotation = {"id": 7, "task": 4, "parent_prediction": 619, "result": [*ours.result[:100], *edited, *theirs[200:]]}
    event = {"action": "ANNOTATION_CREATED", "annotation": annotation, "project": {"id": 1}}
    tracemalloc.start()
    try:
        assert process(store, event) == 300
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    assert last_event(store).error is None
    found = [(item.kind, item.changed_pixels, item.iou) for item in store.corrections.of_project(1)]
    assert found == [("accepted", 0, 1.0)] * 100 + [("edited", 600, 54 / 66)] * 200


def test_an_edit_in_the_browser_becomes_a_correction(store: Store, browser_event, published: np.ndarray) -> None:
    assert process(store, browser_event) == 4
    edited, bitmask, rectangle, deleted = store.corrections.of_project(1)
    assert {(item.region_type, item.kind) for item in (bitmask, rectangle)} == {
        ("bitmasklabels", "added"),
        ("rectanglelabels", "added"),
    }
    assert (edited.region_id, edited.kind, edited.label, edited.model_version) == ("br255", "edited", "red", "v1")
    assert (deleted.region_id, deleted.kind, deleted.mask_after) == ("other", "deleted", None)
    assert edited.mask_before is not None
    assert np.array_equal(store.corrections.read_mask(edited.mask_before), published)
    event = last_event(store)
    assert event.processed_at is not None
    assert event.error is None
    assert event.note == "annotation 7 has 1 regions that are no readable masks"  # a smart box


def test_processing_again_changes_nothing(store: Store, browser_event, published: np.ndarray) -> None:
    process(store, browser_event)
    before = [item.region_id for item in store.corrections.of_project(with_history=True)]
    assert record_corrections(store, 1).total() == 4
    assert [item.region_id for item in store.corrections.of_project(with_history=True)] == before
    assert store.events.unprocessed(0) == []


def test_an_unknown_project_gives_added_regions(store: Store, browser_event) -> None:
    assert process(store, browser_event) == 3
    added, *_ = store.corrections.of_project(1)
    assert (added.kind, added.mask_before, added.iou) == ("added", None, 0.0)
    project = store.projects.find(1, URL)
    assert project is not None
    assert "<BrushLabels" in project.label_config


def test_an_event_of_another_label_studio_does_not_meet_our_predictions(
    store: Store, browser_event, published: np.ndarray
) -> None:
    event_id = store.events.record("ANNOTATION_CREATED", browser_event, label_studio_url="http://other")
    record_corrections(store, event_id)
    assert [item.kind for item in store.corrections.of_project(1)] == ["added"] * 3


def test_without_a_url_the_known_project_is_meant(store: Store, browser_event, published: np.ndarray) -> None:
    record_corrections(store, store.events.record("ANNOTATION_CREATED", browser_event))
    assert [item.kind for item in store.corrections.of_project(1)] == ["edited", "added", "added", "deleted"]


def test_an_update_replaces_and_a_deletion_ends(store: Store, browser_event, published: np.ndarray) -> None:
    process(store, browser_event)
    update = copy.deepcopy(browser_event) | {"action": "ANNOTATION_UPDATED"}
    update["annotation"] |= {"result": [], "updated_at": LATER}
    process(store, update)
    assert {(item.region_id, item.kind) for item in store.corrections.of_project(1)} == {
        ("br255", "deleted"),
        ("other", "deleted"),
    }
    deletion = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 7}], "project": browser_event["project"]}
    assert process(store, deletion) == 0
    assert store.corrections.of_project(1) == []
    assert len(store.corrections.of_project(1, with_history=True)) == 4 + 2


def test_a_skip_takes_the_corrections_back(store: Store, browser_event, published: np.ndarray) -> None:
    process(store, browser_event)
    skip = copy.deepcopy(browser_event) | {"action": "ANNOTATION_UPDATED"}
    skip["annotation"] |= {"was_cancelled": True, "updated_at": LATER}
    assert process(store, skip) == 0
    assert store.corrections.of_project(1) == []
    assert "skipped" in last_event(store, 2).note


WEBHOOKS = {
    "annotation_created": 1,
    "annotation_created_corrected_brush": 3,
    "annotation_ground_truth": 1,
    "annotation_skipped": 0,
    "annotation_updated": 1,
    "annotations_created": 0,
    "annotations_created_from_predictions": 0,
    "annotations_deleted": 0,
    "project_updated": 0,
    "start_training": 0,
    "tasks_created": 0,
    "tasks_deleted": 0,
    "unauthenticated_to_basic_auth_backend": 0,
}


@pytest.mark.parametrize(("name", "corrections"), WEBHOOKS.items())
def test_every_recorded_webhook(store: Store, recorded, name: str, corrections: int) -> None:
    requests = recorded(f"requests/webhook_{name}")
    requests = requests if isinstance(requests, list) else [requests]
    assert sum(process(store, request["json"]) for request in requests) == corrections
    assert store.events.unprocessed(0) == []
    assert [last_event(store, number + 1).error for number in range(len(requests))] == [None] * len(requests)
    assert len(store.corrections.of_project()) == corrections


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event.pop("annotation"),
        lambda event: event.pop("project"),
        lambda event: event.update(project=7),
        lambda event: event["project"].update(id="x"),
        lambda event: event.update(annotation=[5]),
        lambda event: event["annotation"].pop("id"),
        lambda event: event["annotation"].update(task=None),
        lambda event: event["annotation"].update(result=5),
        lambda event: event["annotation"].update(id=10**30),
        lambda event: event["annotation"]["result"][0]["value"].update(brushlabels=["\ud800"]),
    ],
)
def test_what_is_wrong_is_kept_with_the_event(store: Store, browser_event, change) -> None:
    change(browser_event)
    assert process(store, browser_event) == 0
    event = last_event(store)
    assert event.error
    assert event.processed_at is not None
    assert event.payload == browser_event


def test_an_annotation_is_tied_to_the_image_that_its_event_tells(store: Store, browser_event) -> None:
    """The first event brings the task's data, whose image is fetched later; then the task gets another picture."""
    project = store.projects.upsert(URL, 1, browser_event["project"]["label_config"])
    first = browser_event["task"]["data"]["image"]
    process(store, browser_event)
    store.images.record(project, 4, first, sha256="aa", width=8, height=8)
    browser_event["task"]["data"]["image"] = "/data/upload/other.png"
    browser_event["annotation"] |= {"id": 99}
    process(store, browser_event)
    assert store.images.of_tasks(project, [4])[4].reference == "/data/upload/other.png"
    reported = [(each.image_reference, each.image_sha256) for each in store.annotations.find()]
    assert reported == [(first, "aa"), ("/data/upload/other.png", None)]


def test_an_event_about_something_else_makes_no_project_known(store: Store) -> None:
    assert process(store, {"project": {"id": 99}}, "TASKS_CREATED") == 0
    assert store.projects.find(99) is None


def test_one_broken_annotation_does_not_stop_the_others(store: Store, browser_event) -> None:
    annotations = [{"id": 6}, browser_event["annotation"]]
    assert process(store, browser_event | {"annotation": annotations}, "ANNOTATIONS_CREATED") == 3
    assert "annotation 6: KeyError" in last_event(store).error


@pytest.mark.parametrize(
    "poison",
    [
        {"id": 10**30},
        {"id": 0},
        {"task": 10**30},
        {"parent_prediction": 10**30},
        {"result": [{"id": "\ud800", "value": {}, "original_width": 8}]},
        {"result": [{"id": "r", "type": "brushlabels", "value": {"labels": ["\ud800"]}, "original_width": 10**400}]},
    ],
    ids=str,
)
@pytest.mark.parametrize("action", ["ANNOTATIONS_CREATED", "ANNOTATIONS_DELETED"])
def test_a_poisoned_annotation_costs_itself_alone(store: Store, browser_event, action: str, poison) -> None:
    process(store, browser_event)
    good = browser_event["annotation"] | {"id": 8}
    process(store, browser_event | {"annotation": [browser_event["annotation"] | {"id": 9} | poison, good]}, action)
    is_deletion = action == "ANNOTATIONS_DELETED"
    everything = store.annotations.find(CorrectionFilter(with_history=True))
    assert [annotation.state for annotation in everything if annotation.annotation_id == 8] == [
        "deleted" if is_deletion else "submitted"
    ]
    is_kept = any(annotation.annotation_id == 9 and annotation.unread for annotation in everything)
    assert is_deletion or is_kept or "annotation " in last_event(store, 2).error


def test_an_event_of_deleted_tasks_with_a_poisoned_one(store: Store, browser_event) -> None:
    process(store, browser_event)
    process(store, {"tasks": [{"id": 10**30}, {"id": None}, 7, {"id": 4}], "project": {"id": 1}}, "TASKS_DELETED")
    assert store.annotations.find() == []
    assert "task 7: TypeError" in last_event(store, 2).error


@pytest.mark.parametrize("reported", [10**400, float("nan"), float("inf"), -5, True, "9", None])
def test_a_lead_time_that_is_none(store: Store, browser_event, reported) -> None:
    browser_event["annotation"]["lead_time"] = reported
    assert process(store, browser_event) == 3
    (annotation,) = store.annotations.find()
    assert (annotation.lead_time_s, annotation.capped_lead_time_s) == (None, None)


@pytest.mark.parametrize("reported", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "yesterday"])
def test_a_time_of_change_that_is_none(store: Store, browser_event, reported: str) -> None:
    browser_event["annotation"]["updated_at"] = reported
    assert process(store, browser_event) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
RESULTS = st.lists(
    st.fixed_dictionaries({}, optional={"id": JSON, "value": JSON, "original_width": JSON, "original_height": JSON}),
    max_size=3,
)
ANNOTATIONS = st.fixed_dictionaries(
    {}, optional={"id": JSON, "task": JSON, "result": RESULTS | JSON, "lead_time": JSON, "parent_prediction": JSON}
)


@given(
    st.sampled_from(["ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATIONS_DELETED", "TASKS_DELETED", "WHATEVER"]),
    st.fixed_dictionaries(
        {},
        optional={
            "tasks": st.lists(ANNOTATIONS, max_size=2) | JSON,
            "annotation": ANNOTATIONS | st.lists(ANNOTATIONS, max_size=2) | JSON,
            "project": st.just({"id": 1}) | JSON,
        },
    ),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_payload_makes_it_raise(store: Store, action: str, payload: dict[str, Any]) -> None:
    event_id = store.events.record(action, payload)
    record_corrections(store, event_id)
    assert store.events.get(event_id).processed_at is not None


def test_a_missing_mask_is_the_events_error(store: Store, tmp_path: Path, browser_event, published) -> None:
    for file in (tmp_path / "blobs").rglob("*"):
        if file.is_file():
            file.unlink()
    assert process(store, browser_event) == 0
    assert "missing" in last_event(store).error


def test_a_disk_that_is_full_leaves_the_event_for_later(
    store: Store, browser_event, published: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_id = store.events.record("ANNOTATION_CREATED", browser_event, label_studio_url=URL)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(StoreError, match="free space"):
            record_corrections(store, event_id)
    assert store.events.unprocessed(0) == [event_id]
    assert store.corrections.of_project() == []
    assert record_corrections(store, event_id).total() == 4


def test_a_store_that_does_not_work_leaves_the_event_for_later(
    store: Store, tmp_path: Path, browser_event, monkeypatch
) -> None:
    event_id = store.events.record("ANNOTATION_CREATED", browser_event)
    with monkeypatch.context() as patch:

        def locked(*_: object, **__: object) -> None:
            raise StoreError("database is locked", is_transient=True)

        patch.setattr(store.annotations, "save", locked)
        with pytest.raises(StoreError):
            record_corrections(store, event_id)
    assert store.events.unprocessed(0) == [event_id]
    assert record_corrections(store, event_id).total() == 3
