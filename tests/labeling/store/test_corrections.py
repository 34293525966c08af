from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from labeling.regions.cropped_mask import CroppedMask
from labeling.store import Annotation, AskedPrompt, Correction, CorrectionFilter, Project, Store

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)
Build = Callable[..., Any]


@pytest.fixture
def correction(square) -> Build:
    def build(region_id: str = "r1", **changes: Any) -> Correction:
        fields: dict[str, Any] = {
            "region_id": region_id,
            "region_type": "brushlabels",
            "label": "red",
            "kind": "edited",
            "mask_before": CroppedMask.of(square),
            "mask_after": CroppedMask.of(~square),
            "iou": 0.25,
            "boundary_iou": 0.125,
            "changed_pixels": 192,
            "predicted_region_id": region_id,
            "label_before": "red",
            "prompt": "red ball",
            "score": 0.75,
            "model_version": "v1",
        }
        return Correction(**fields | changes)

    return build


@pytest.fixture
def annotation(correction: Build) -> Build:
    """`annotation(7, correction(), ...)`: an annotation of task 4 with these corrections, by default with one."""

    def build(annotation_id: int = 7, *corrections: Correction, **changes: Any) -> Annotation:
        fields: dict[str, Any] = {"task_id": 4, "state": "submitted", "corrections": corrections or (correction(),)}
        return Annotation(annotation_id, **fields | changes)

    return build


def record(store: Store) -> int:
    return store.events.record("ANNOTATION_CREATED", {"action": "ANNOTATION_CREATED"})


def save(store: Store, project: Project, *annotations: Annotation) -> int:
    return store.annotations.save(record(store), project, annotations)


def deletion(annotation_id: int) -> Annotation:
    return Annotation(annotation_id, None, "deleted")


def test_all_that_is_known_is_handed_out_again(store: Store, project: Project, annotation, correction, square) -> None:
    asked = (AskedPrompt("red", "red ball"), AskedPrompt(None, "all"))
    reported = annotation(
        7,
        correction(vertices_before=4, vertices_after=5, interactive=True),
        correction("r2", mask_before=None, kind="added", score=None, prompt=None),
        at=NINE,
        annotator_id=1,
        lead_time_s=2000.0,
        capped_lead_time_s=1200.0,
        ground_truth=True,
        prediction_id=3,
        model_version="v1",
        asked=asked,
        unread=2,
    )
    assert save(store, project, reported) == 1
    (kept,) = store.annotations.find()
    for name in ("annotation_id", "task_id", "state", "at", "annotator_id", "lead_time_s", "capped_lead_time_s"):
        assert getattr(kept, name) == getattr(reported, name)
    for name in ("ground_truth", "prediction_id", "model_version", "asked", "unread"):
        assert getattr(kept, name) == getattr(reported, name)
    assert (kept.project, kept.excluded) == (project, None)
    for stored, given in zip(kept.corrections, reported.corrections, strict=True):
        assert (stored.project_id, stored.annotation_id, stored.task_id, stored.at) == (1, 7, 4, NINE)
        for name in vars(given).keys() - {"mask_before", "mask_after"}:
            assert getattr(stored, name) == getattr(given, name), name
    first, second = kept.corrections
    assert np.array_equal(store.corrections.read_mask(first.mask_before or ""), square)
    assert np.array_equal(store.corrections.read_mask(first.mask_after or ""), ~square)
    assert second.mask_before is None
    assert store.corrections.of_project(1) == list(kept.corrections)
    assert store.corrections.of_project(2) == []


def test_saving_an_event_again_replaces_what_it_reported(
    store: Store, project: Project, annotation, correction
) -> None:
    event_id = record(store)
    store.annotations.save(event_id, project, [annotation(7, correction(), correction("r2"), at=NINE)])
    store.annotations.save(event_id, project, [annotation(7, correction(kind="accepted"), at=NINE)])
    (only,) = store.corrections.of_project(with_history=True)
    assert only.kind == "accepted"


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("with_times", [True, False], ids=["by time", "by event"])
def test_the_newest_state_of_an_annotation_counts(
    store: Store, project: Project, annotation, correction, in_order: bool, with_times: bool
) -> None:
    """Webhooks may come in any order: then the annotation's own clock tells. Without one, the first one came first."""
    old = [annotation(7, correction(), correction("r2"), at=NINE if with_times else None), annotation(8)]
    new = [annotation(7, correction(kind="accepted"), at=NINE + timedelta(seconds=1) if with_times else None)]
    events = [record(store), record(store)]
    reported = [old, new] if in_order or not with_times else [new, old]
    saves = list(zip(events, reported, strict=True))
    for event_id, annotations in saves if in_order else reversed(saves):
        store.annotations.save(event_id, project, annotations)
    current = {(item.annotation_id, item.region_id, item.kind) for item in store.corrections.of_project(1)}
    assert current == {(7, "r1", "accepted"), (8, "r1", "edited")}
    assert len(store.corrections.of_project(1, with_history=True)) == 4


@pytest.mark.parametrize("in_order", [True, False])
def test_a_deletion_is_the_end(store: Store, project: Project, annotation, in_order: bool) -> None:
    annotations = [annotation(7, at=NINE), deletion(7)]
    for each in annotations if in_order else reversed(annotations):
        assert save(store, project, each) == 1
    assert save(store, project, deletion(7)) == 0
    assert store.annotations.find() == []
    assert {each.state for each in store.annotations.find(CorrectionFilter(with_history=True))} == {
        "submitted",
        "deleted",
    }


def test_what_two_events_report_is_stored_once(store: Store, project: Project, annotation) -> None:
    reported = annotation(7, at=NINE)
    assert [save(store, project, reported) for _ in range(3)] == [1, 0, 0]
    assert save(store, project, replace(reported, at=NINE + timedelta(microseconds=1))) == 1
    assert len(store.annotations.find(CorrectionFilter(with_history=True))) == 2


def test_annotations_of_two_label_studios_with_the_same_numbers(
    store: Store, project: Project, annotation, correction
) -> None:
    other = store.projects.upsert("http://other", 1, "<View/>")
    save(store, project, annotation(7, at=NINE))
    save(store, other, annotation(7, correction(kind="accepted"), at=NINE))
    assert sorted(item.kind for item in store.corrections.of_project(1)) == ["accepted", "edited"]
    (own,) = store.corrections.find(CorrectionFilter(1, "http://other/"))
    assert own.kind == "accepted"


def test_filters(store: Store, project: Project, annotation, correction) -> None:
    later = NINE + timedelta(days=1)
    save(store, project, annotation(7, correction(), correction("r2", label="cell"), at=NINE, annotator_id=1))
    save(store, project, annotation(8, correction(model_version="v2"), at=later, annotator_id=2, task_id=5))
    save(store, project, annotation(9, correction(label="cell", label_before="red"), at=later, annotator_id=2))

    def found(**wanted: Any) -> list[tuple[int, str]]:
        return [(item.annotation_id, item.region_id) for item in store.corrections.find(CorrectionFilter(**wanted))]

    assert found() == [(7, "r1"), (7, "r2"), (8, "r1"), (9, "r1")]
    assert found(project_id=2) == []
    assert found(label="cell") == [(7, "r2"), (9, "r1")]
    assert found(label="red") == [(7, "r1"), (7, "r2"), (8, "r1"), (9, "r1")]  # what was predicted as red counts too
    assert found(since=later) == [(8, "r1"), (9, "r1")]
    assert found(until=later) == [(7, "r1"), (7, "r2")]
    assert found(model_version="v2") == [(8, "r1")]
    assert found(annotator_id=2, task_id=4) == [(9, "r1")]
    assert found(annotation_id=7, label="cell") == [(7, "r2")]
    save(
        store,
        project,
        annotation(10, correction("new", kind="added", model_version=None), at=later, model_version="v3"),
    )
    assert (found(model_version="v3"), found(began_from="v3")) == ([], [(10, "new")])


def test_what_is_known_of_annotations(store: Store, project: Project, annotation) -> None:
    save(store, project, annotation(7, at=NINE), annotation(8, task_id=5))
    save(store, project, annotation(7, at=NINE + timedelta(seconds=1)), annotation(9, at=NINE), deletion(10))
    save(store, project, deletion(9))
    assert store.annotations.times(project, [7, 8, 9, 10, 11]) == {7: {NINE, NINE + timedelta(seconds=1)}, 9: {NINE}}
    assert store.annotations.of_tasks(project, [4]) == {4: {7: "submitted"}}
    assert store.annotations.of_tasks(project, [4, 5, 6]) == {4: {7: "submitted"}, 5: {8: "submitted"}}


def images(store: Store) -> dict[int, tuple[str | None, str | None]]:
    return {each.annotation_id: (each.image_reference, each.image_sha256) for each in store.annotations.find()}


def test_an_annotation_knows_the_image_that_it_was_made_on(store: Store, project: Project, annotation) -> None:
    save(store, project, annotation(6))  # nothing is known of the task
    store.images.record(project, 4, "/data/a.png", sha256="aa", width=16, height=12)
    save(store, project, annotation(7), annotation(8, task_id=5, image_reference="/data/b.png"))
    save(store, project, annotation(9, image_reference="/data/c.png"))  # the task's data was changed
    store.images.record(project, 4, "/data/c.png")
    assert images(store) == {
        6: (None, None), 7: ("/data/a.png", "aa"), 8: ("/data/b.png", None), 9: ("/data/c.png", None),
    }  # fmt: skip
    (correction,) = store.corrections.find(CorrectionFilter(annotation_id=7))
    assert correction.image_sha256 == "aa"


@pytest.mark.parametrize("by_sweeper", [True, False])
def test_whose_image_is_fetched_later_knows_it_then(
    store: Store, project: Project, annotation, by_sweeper: bool
) -> None:
    save(store, project, annotation(7, image_reference="/data/a.png"), annotation(8, image_reference="/data/b.png"))
    save(store, project, annotation(9, task_id=5, image_reference="/data/b.png"))
    store.images.record(project, 4, "/data/b.png")
    if by_sweeper:
        store.images.keep_of_task(project, store.images.of_tasks(project, [4])[4], b"bb", 16, 12)
    else:
        store.images.record(project, 4, "/data/b.png", sha256="bb", width=16, height=12)
    found = images(store)
    assert (found[7][1], found[9][1]) == (None, None) and found[8][1] is not None
    assert found[8][1] == store.images.of_tasks(project, [4])[4].sha256
    store.images.record(project, 4, "/data/b.png", sha256="cc", width=16, height=12)  # another file in its place
    assert images(store) == found


def test_a_tasks_image(store: Store, project: Project) -> None:
    assert store.images.of_tasks(project, [4]) == {}
    store.images.record(project, 4, "/data/a.png")
    assert store.images.of_tasks(project, [4, 5])[4].sha256 is None
    store.images.record(project, 4, "/data/a.png", sha256="ab", width=16, height=12)
    store.images.record(project, 4, "/data/a.png")
    image = store.images.of_tasks(project, [4])[4]
    assert (image.sha256, image.width, image.height) == ("ab", 16, 12)
    store.images.record(project, 4, "/data/b.png")  # somebody changed the task
    image = store.images.of_tasks(project, [4])[4]
    assert (image.reference, image.sha256, image.width) == ("/data/b.png", None, None)
