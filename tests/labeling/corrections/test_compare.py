from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from labeling.corrections.compare import AnnotationReview, corrections_from_event, review_annotation
from labeling.errors import LabelingError
from labeling.regions.brush import brush_mask, brush_region
from labeling.store import PredictedRegionRecord


@dataclass
class Predicted:
    """Predicted regions in memory. `sent` maps Label Studio's prediction ids to ours."""

    regions: list[PredictedRegionRecord]
    sent: dict[int, int] = field(default_factory=dict)
    newest: int | None = None

    def find(self, task_id: int, region_id: str) -> PredictedRegionRecord | None:
        return next((region for region in self.regions if task_id == 4 and region.region_id == region_id), None)

    def of_prediction(self, prediction_id: int) -> list[PredictedRegionRecord]:
        return [region for region in self.regions if region.prediction_id == prediction_id]

    def sent_prediction(self, task_id: int, label_studio_prediction_id: int, *, or_newest: bool) -> int | None:
        return self.sent.get(label_studio_prediction_id, self.newest if or_newest else None)


def predicted(region_id: str, mask: np.ndarray, prediction_id: int = 1, **changes: Any) -> PredictedRegionRecord:
    fields = {"label": "red", "prompt": "red ball", "score": 0.9, "model_version": "v1", "interactive": False} | changes
    return PredictedRegionRecord(prediction_id=prediction_id, region_id=region_id, mask=mask, **fields)


def brush(region_id: str, mask: np.ndarray, label: str = "red") -> dict[str, Any]:
    tags = {"from_name": "brush", "to_name": "image", "region_type": "brushlabels", "score": 0.9}
    return brush_region(mask, label=label, region_id=region_id, **tags)


def annotation(*result: Any, parent: int | None = None, **changes: Any) -> dict[str, Any]:
    fields = {"id": 7, "task": 4, "completed_by": 1, "lead_time": 21.5, "was_cancelled": False}
    return fields | {"result": list(result), "parent_prediction": parent} | changes


def kinds(review: AnnotationReview) -> dict[str, str]:
    return {correction.region_id: correction.kind for correction in review.corrections}


def test_kept_edited_added_and_deleted(square) -> None:
    half = square.copy()
    half[3:5] = False
    regions = [predicted(name, square) for name in ("kept", "edited", "gone")]
    review = review_annotation(
        annotation(brush("kept", square), brush("edited", half), brush("new", half), parent=77),
        Predicted(regions, {77: 1}),
    )
    assert kinds(review) == {"kept": "accepted", "edited": "edited", "new": "added", "gone": "deleted"}
    by_id = {correction.region_id: correction for correction in review.corrections}
    assert {name: correction.iou for name, correction in by_id.items()} == {
        "kept": 1.0,
        "edited": pytest.approx(half.sum() / square.sum()),
        "new": 0.0,
        "gone": 0.0,
    }
    edited, added, deleted = by_id["edited"], by_id["new"], by_id["gone"]
    assert np.array_equal(edited.mask_before, square)
    assert np.array_equal(edited.mask_after, half)
    assert (edited.task_id, edited.annotator_id, edited.lead_time_s, edited.model_version) == (4, 1, 21.5, "v1")
    assert (added.mask_before, added.model_version, added.label) == (None, None, "red")
    assert (deleted.mask_after, deleted.model_version, deleted.label) == (None, "v1", "red")


def test_antialiasing_alone_is_no_edit(square) -> None:
    drawn = square.astype(np.uint8) * 255
    drawn[2, 4:9] = 100  # a soft rim
    drawn[3, 4:9] = 200
    review = review_annotation(annotation(brush("r", drawn)), Predicted([predicted("r", square)]))
    assert kinds(review) == {"r": "accepted"}


def test_another_label_is_an_edit(square) -> None:
    review = review_annotation(annotation(brush("r", square, "blue")), Predicted([predicted("r", square)]))
    assert [(item.kind, item.iou, item.label) for item in review.corrections] == [("edited", 1.0, "blue")]


def test_a_region_erased_to_nothing_is_deleted(square) -> None:
    nothing = np.zeros_like(square)
    review = review_annotation(
        annotation(brush("r", nothing), brush("never", nothing)), Predicted([predicted("r", square)])
    )
    assert kinds(review) == {"r": "deleted"}


def test_what_the_annotator_says_about_origin_does_not_count(square) -> None:
    region = brush("r", ~square) | {"origin": "prediction"}
    assert kinds(review_annotation(annotation(region), Predicted([predicted("r", square)]))) == {"r": "edited"}


def test_an_image_that_had_another_size(square) -> None:
    review = review_annotation(annotation(brush("r", square.T)), Predicted([predicted("r", square)]))
    assert [(item.kind, item.iou) for item in review.corrections] == [("edited", 0.0)]


def test_an_annotation_from_nothing_deleted_nothing(square) -> None:
    stored = Predicted([predicted("r", square)], newest=1)
    assert kinds(review_annotation(annotation(brush("new", square)), stored)) == {"new": "added"}


def test_the_parent_may_be_gone_but_a_kept_region_names_it(square) -> None:
    stored = Predicted([predicted("kept", square), predicted("gone", square)])
    review = review_annotation(annotation(brush("kept", square)), stored)
    assert kinds(review) == {"kept": "accepted", "gone": "deleted"}


def test_a_parent_that_label_studio_asked_for_itself(square) -> None:
    stored = Predicted([predicted("gone", square, 1), predicted("old", square, 2)], newest=1)
    assert kinds(review_annotation(annotation(parent=500), stored)) == {"gone": "deleted"}


def test_a_kept_region_is_better_than_a_guess(square) -> None:
    stored = Predicted([predicted("kept", square, 1), predicted("newer", square, 2)], newest=2)
    assert kinds(review_annotation(annotation(brush("kept", square), parent=500), stored)) == {"kept": "accepted"}


def test_suggestions(square) -> None:
    """One was taken, beside it all of the parent's regions were deleted, and another suggestion was not taken."""
    stored = Predicted(
        [
            predicted("typed", square, 2, interactive=True),
            predicted("ignored", square, 2, interactive=True),
            predicted("gone", square, 1),
        ],
        newest=1,
    )
    review = review_annotation(annotation(brush("typed", square), parent=500), stored)
    assert kinds(review) == {"typed": "accepted", "gone": "deleted"}


def test_the_parent_of_another_model(square) -> None:
    assert review_annotation(annotation(parent=500), Predicted([predicted("r", square)])).corrections == ()


def test_a_skipped_annotation_says_nothing(square) -> None:
    stored = Predicted([predicted("r", square)], {77: 1})
    review = review_annotation(annotation(parent=77, was_cancelled=True), stored)
    assert (review.corrections, review.was_cancelled) == ((), True)


def test_mask_and_label_beside_a_plain_brush(square) -> None:
    mask = brush("r", square)
    del mask["value"]["brushlabels"]
    label = {"id": "r", "type": "labels", "original_width": 16, "value": {"labels": ["red"]}}
    review = review_annotation(annotation(mask | {"type": "brush"}, label), Predicted([predicted("r", square)]))
    assert (kinds(review), review.unread) == ({"r": "accepted"}, 0)


def test_other_kinds_are_counted_and_never_deleted(recorded, square) -> None:
    regions = recorded("regions")
    found = [regions[name] for name in ("poly", "rect", "vector", "kp", "text", "bitmask_rgba", "bad_rle")]
    strange = [None, "x", {}, {"value": 3}, {"id": "s", "value": {}, "original_width": 3}]
    stored = Predicted([predicted("po", square)], {77: 1})
    review = review_annotation(annotation(*found, *strange, parent=77), stored)
    assert (review.corrections, review.unread) == ((), 7)


@pytest.mark.parametrize(
    ("lead_time", "regions", "capped"),
    [(21.5, 1, 21.5), (5000.0, 1, 600.0), (5000, 3, 1800.0), (700.0, 0, 600.0), (None, 1, None), ("x", 1, None)],
)
def test_lead_time_is_capped_for_each_region(square, lead_time, regions: int, capped) -> None:
    result = [brush(f"r{number}", square) for number in range(regions)] or [brush("gone", np.zeros_like(square))]
    stored = Predicted([predicted("gone", square)])
    review = review_annotation(annotation(*result, lead_time=lead_time), stored)
    assert {item.capped_lead_time_s for item in review.corrections} == {capped if regions else 600.0}


@pytest.mark.parametrize(("who", "expected"), [(3, 3), ({"id": 3, "email": "a@b"}, 3), (None, None), ("x", None)])
def test_the_annotator(square, who: object, expected: int | None) -> None:
    review = review_annotation(annotation(brush("r", square), completed_by=who), Predicted([]))
    assert review.corrections[0].annotator_id == expected


def test_a_mask_that_was_erased_a_little_in_the_browser(recorded) -> None:
    """Recorded: a brush region partly erased, a rectangle moved, a polygon deleted, a bitmask left untouched."""
    regions = recorded("regions")
    before = brush_mask(regions["brush255"])
    stored = Predicted([predicted("br255", before), predicted("gone", before)], {619: 1})
    review = review_annotation(recorded("annotation_after_edit"), stored)
    assert kinds(review) == {"br255": "edited", "gone": "deleted"}
    assert review.unread == 2  # the rectangle and the bitmask
    edited = review.corrections[0]
    assert 0.5 < edited.iou < 1
    assert edited.mask_after is not None
    assert not (edited.mask_after & ~before).any()  # erasing adds nothing
    assert (edited.annotation_id, edited.annotator_id, edited.lead_time_s) == (7, 1, 21.975)


@pytest.mark.parametrize("name", ["created_in_browser_brush", "created_corrected_brush"])
def test_the_webhook_of_the_same(recorded, name: str) -> None:
    before = brush_mask(recorded("regions")["brush255"])
    payload = recorded(f"requests/webhook_annotation_{name}")["json"]
    assert [c.kind for c in corrections_from_event(payload, Predicted([predicted("br255", before)]))] == ["edited"]
    assert [c.kind for c in corrections_from_event(payload, Predicted([]))] == ["added"]


def test_annotations_come_in_lists_too(recorded, square) -> None:
    many = {"annotation": [annotation(brush("a", square)), annotation(brush("b", square), id=8)]}
    assert [item.annotation_id for item in corrections_from_event(many, Predicted([]))] == [7, 8]
    assert corrections_from_event(recorded("requests/webhook_annotations_created")["json"], Predicted([])) == []


@pytest.mark.parametrize("payload", [{}, {"annotation": None}, {"annotation": [{"id": 1}, 5]}, {"annotation": "x"}])
def test_a_payload_without_annotations(payload: dict[str, Any]) -> None:
    with pytest.raises(LabelingError):
        corrections_from_event(payload, Predicted([]))
