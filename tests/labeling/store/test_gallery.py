"""What pages list: the newest first, a page at a time, by what was chosen."""

from datetime import UTC, datetime

import numpy as np
import pytest

from labeling.prompts.plan import PromptPlan
from labeling.regions.cropped_mask import CroppedMask
from labeling.store import (
    Annotation,
    Correction,
    Exclusion,
    PredictionFilter,
    Project,
    ShownCorrectionFilter,
    ShownLabel,
    Store,
)

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.fixture
def other(store: Store, project: Project) -> Project:
    return store.projects.upsert(project.label_studio_url, 2, project.label_config)


@pytest.fixture
def predicted(store: Store, project: Project, other: Project, plan: PromptPlan, predict, square) -> list[int]:
    """Rows of six tasks: three sent with a square each, one failed, one still requested, one of the other project."""
    rows = [
        store.requests.add(of, task, {"image": "a.png"}, plan, "v1", delivery="push").id
        for of, task in [*((project, task) for task in range(1, 6)), (other, 1)]
    ]
    for place in (0, 1, 2, 5):
        store.requests.begin(rows[place])
        store.predictions.finish(rows[place], predict(*[square] * (place % 3 + 1)))
        store.predictions.mark_published(rows[place], None)
    store.predictions.fail(rows[3], "it is <broken>")
    return rows


def correct(store: Store, project: Project, square: np.ndarray, annotation_id: int, task: int, who: int) -> None:
    """An accepted and an edited region, and a deleted one of another label."""
    mask = CroppedMask.of(square)
    fields = {"region_type": "brushlabels", "iou": 0.5, "boundary_iou": 0.5, "changed_pixels": 3, "mask_before": mask}
    corrections = (
        Correction(region_id="a", label="red", label_before="red", kind="accepted", mask_after=mask, **fields),
        Correction(region_id="b", label="red", label_before="red", kind="edited", mask_after=mask, **fields),
        Correction(region_id="c", label=None, label_before="cell", kind="deleted", **fields),
    )
    annotation = Annotation(annotation_id, task, "submitted", annotator_id=who, corrections=corrections, at=NINE)
    store.annotations.save(store.events.record("ANNOTATION_CREATED", {}), project, [annotation])


def test_predictions_come_the_newest_first_and_not_before_they_are_computed(store: Store, predicted: list[int]) -> None:
    shown = store.gallery.predictions(PredictionFilter())
    assert [each.id for each in shown] == [predicted[place] for place in (5, 3, 2, 1, 0)]
    assert shown[1].error == "it is <broken>" and shown[1].labels == ()
    assert shown[2].labels == (ShownLabel("red", 3, shown[2].score),)


def test_the_next_page_begins_where_this_one_ends(store: Store, predicted: list[int]) -> None:
    seen, before = [], None
    while page := store.gallery.predictions(PredictionFilter(), before=before, limit=2):
        seen, before = [*seen, *(each.id for each in page)], page[-1].id
    assert seen == [predicted[place] for place in (5, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("chosen", "places"),
    [
        ({"status": "failed"}, [3]),
        ({"status": "requested"}, [4]),
        ({"label": "red"}, [5, 2, 1, 0]),
        ({"label": "'; DROP TABLE predictions; --"}, []),
        ({"min_score": 0.99}, []),
        ({"max_score": 1.0}, [5, 2, 1, 0]),
    ],
)
def test_predictions_are_chosen(chosen: dict, places: list[int], store: Store, predicted: list[int]) -> None:
    shown = store.gallery.predictions(PredictionFilter(**chosen))
    assert [each.id for each in shown] == [predicted[place] for place in places]


def test_of_a_project_is_of_no_other(store: Store, project: Project, other: Project, predicted: list[int]) -> None:
    assert [each.id for each in store.gallery.predictions(PredictionFilter(other))] == [predicted[5]]
    assert (store.gallery.masked_tasks(project, "v1"), store.gallery.masked_tasks(project, "v2")) == (3, 0)


def test_corrections_are_those_of_the_newest_state(store: Store, project: Project, square: np.ndarray) -> None:
    correct(store, project, square, 7, 4, 1)
    first = store.gallery.corrections(ShownCorrectionFilter())
    assert [each.region.region_id for each in first] == ["c", "b", "a"]
    later = Annotation(7, 4, "submitted", at=NINE.replace(hour=10))
    store.annotations.save(store.events.record("ANNOTATION_UPDATED", {}), project, [later])
    assert store.gallery.corrections(ShownCorrectionFilter()) == []
    assert store.gallery.correction(first[0].id) is None


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, ["8c", "8b", "8a", "7c", "7b", "7a"]),
        ({"kind": "edited"}, ["8b", "7b"]),
        ({"label": "cell"}, ["8c", "7c"]),
        ({"annotator_id": 1}, ["7c", "7b", "7a"]),
        ({"left_out": True}, ["8b", "7c", "7b", "7a"]),
        ({"left_out": False}, ["8c", "8a"]),
    ],
)
def test_corrections_are_chosen(
    chosen: dict, found: list[str], store: Store, project: Project, square: np.ndarray
) -> None:
    correct(store, project, square, 7, 4, 1)
    correct(store, project, square, 8, 5, 2)
    store.exclusions.add(project, Exclusion("region", "8/b", "blurred"))
    store.exclusions.add(project, Exclusion("annotator", "1", "in training", who="ada"))
    shown = store.gallery.corrections(ShownCorrectionFilter(**chosen))
    assert [f"{each.annotation_id}{each.region.region_id}" for each in shown] == found
    paged = store.gallery.corrections(ShownCorrectionFilter(**chosen), before=shown[0].id)
    assert [each.id for each in paged] == [each.id for each in shown[1:]]


def test_what_leaves_a_correction_out_is_told_the_widest_first(
    store: Store, project: Project, square: np.ndarray
) -> None:
    correct(store, project, square, 7, 4, 1)
    for scope, value in (("region", "7/a"), ("task", "4")):
        store.exclusions.add(project, Exclusion(scope, value, f"the {scope}", who="ada"))
    reasons = {each.region.region_id: each.excluded for each in store.gallery.corrections(ShownCorrectionFilter())}
    assert reasons["a"] == Exclusion("task", "4", "the task", who="ada")
    assert store.exclusions.remove(project, "task", "4")
    left = {each.region.region_id: each.excluded for each in store.gallery.corrections(ShownCorrectionFilter())}
    assert left["a"] == Exclusion("region", "7/a", "the region", who="ada") and left["b"] is None


def test_annotators_are_listed_once(store: Store, project: Project, other: Project, square: np.ndarray) -> None:
    for annotation_id, who in ((7, 3), (8, 1), (9, 3)):
        correct(store, project, square, annotation_id, annotation_id, who)
    assert (store.gallery.annotators(), store.gallery.annotators(other)) == ([1, 3], [])
