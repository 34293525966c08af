from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argenseg_model.metrics import boundary_iou, iou
from labeling.corrections.compare import PredictionOrigin, compare_annotation, event_annotations
from labeling.errors import LabelingError
from labeling.regions import brush_rle
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.kinds import draw_regions, region_dict, region_mask
from labeling.store import Annotation, AskedPrompt, PredictedRegionRecord

ASKED = (AskedPrompt("red", "red ball"),)
CONFIGURED = (AskedPrompt("red", "red"), AskedPrompt("blue", "blue"))


@dataclass
class Predicted:
    """Predicted regions in memory. `sent` maps Label Studio's prediction ids to ours, `drawn_as` ours to regions."""

    regions: list[PredictedRegionRecord]
    sent: dict[int, int] = field(default_factory=dict)
    newest: int | None = None
    drawn_as: dict[str, dict[str, Any]] = field(default_factory=dict)
    image_tag: str | None = "image"
    input_tags: tuple[str, ...] = ()

    def find(self, task_id: int, region_id: str) -> PredictedRegionRecord | None:
        return next((region for region in self.regions if task_id == 4 and region.region_id == region_id), None)

    def of_prediction(self, prediction_id: int) -> list[PredictedRegionRecord]:
        return [region for region in self.regions if region.prediction_id == prediction_id]

    def drawn(self, region: PredictedRegionRecord) -> dict[str, Any] | None:
        return self.drawn_as.get(region.region_id, {"type": "brushlabels", "value": {}})

    def sent_prediction(self, task_id: int, label_studio_prediction_id: int, *, or_newest: bool) -> int | None:
        return self.sent.get(label_studio_prediction_id, self.newest if or_newest else None)

    def prediction(self, prediction_id: int) -> PredictionOrigin:
        return PredictionOrigin("v1", ASKED)

    def asked(self, task_id: int) -> tuple[AskedPrompt, ...]:
        return CONFIGURED


def predicted(region_id: str, mask: np.ndarray, prediction_id: int = 1, **changes: Any) -> PredictedRegionRecord:
    fields = {"label": "red", "prompt": "red ball", "score": 0.9, "model_version": "v1", "interactive": False} | changes
    return PredictedRegionRecord(prediction_id=prediction_id, region_id=region_id, shape=CroppedMask.of(mask), **fields)


def draw(kind: str, region_id: str, mask: np.ndarray, label: str | None = "red") -> dict[str, Any]:
    (drawn,) = draw_regions(kind, mask)
    tags = {"from_name": "tag", "to_name": "image", "score": 0.9}
    return region_dict(drawn, kind=kind, label=label, region_id=region_id, **tags)


def brush(region_id: str, mask: np.ndarray, label: str = "red") -> dict[str, Any]:
    """Also of an empty or antialiased mask, which the page can leave behind."""
    height, width = mask.shape
    size = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": "image"}
    value = {"format": "rle", "rle": brush_rle.encode(mask), "brushlabels": [label]}
    return {"id": region_id, "type": "brushlabels", "from_name": "brush", "value": value} | size


def annotation(*result: Any, parent: int | None = None, **changes: Any) -> dict[str, Any]:
    fields = {"id": 7, "task": 4, "completed_by": 1, "lead_time": 21.5, "was_cancelled": False}
    return fields | {"result": list(result), "parent_prediction": parent} | changes


def kinds(compared: Annotation) -> dict[str, str]:
    return {correction.region_id: correction.kind for correction in compared.corrections}


def test_kept_edited_added_and_deleted(square) -> None:
    half = square.copy()
    half[3:5] = False
    regions = [predicted(name, square) for name in ("kept", "edited", "gone")]
    compared = compare_annotation(
        annotation(brush("kept", square), brush("edited", half), brush("new", shifted(half, 6)), parent=77),
        Predicted(regions, {77: 1}),
    )
    assert kinds(compared) == {"kept": "accepted", "edited": "edited", "new": "added", "gone": "deleted"}
    by_id = {correction.region_id: correction for correction in compared.corrections}
    assert {name: correction.iou for name, correction in by_id.items()} == {
        "kept": 1.0,
        "edited": pytest.approx(half.sum() / square.sum()),
        "new": 0.0,
        "gone": 0.0,
    }
    edited, added, deleted = by_id["edited"], by_id["new"], by_id["gone"]
    assert edited.mask_before is not None and np.array_equal(edited.mask_before.full(), square)
    assert edited.mask_after is not None and np.array_equal(edited.mask_after.full(), half)
    assert (compared.task_id, compared.annotator_id, compared.lead_time_s, compared.model_version) == (4, 1, 21.5, "v1")
    assert (compared.prediction_id, compared.asked, compared.state) == (1, ASKED, "submitted")
    assert edited.boundary_iou == pytest.approx(boundary_iou(square, half))
    assert (edited.changed_pixels, added.changed_pixels, deleted.changed_pixels) == (10, half.sum(), square.sum())
    assert (edited.prompt, edited.score, edited.label_before) == ("red ball", 0.9, "red")
    assert (added.mask_before, added.model_version, added.label) == (None, None, "red")
    assert (deleted.mask_after, deleted.model_version, deleted.label) == (None, "v1", "red")


@st.composite
def pairs_of_masks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Of one image, whose boundaries are 1 to 8 px wide: rectangles with holes, which may touch the image's rim."""
    height, width = draw(st.integers(1, 240)), draw(st.integers(1, 320))
    edges = [st.lists(st.integers(0, side), min_size=2, max_size=2).map(sorted) for side in (height, width)]
    masks = np.zeros((2, height, width), bool)
    for mask in masks:
        for number, (rows, columns) in enumerate(draw(st.lists(st.tuples(*edges), max_size=4))):
            mask[slice(*rows), slice(*columns)] = number % 2 == 0
    return masks[0], masks[1]


@given(pairs_of_masks())
def test_all_numbers_are_those_of_the_whole_masks(masks: tuple[np.ndarray, np.ndarray]) -> None:
    before, after = masks
    (item,) = compare_annotation(annotation(brush("r", after)), Predicted([predicted("r", before)])).corrections
    assert item.changed_pixels == np.count_nonzero(before != after)
    if after.any():
        assert (item.iou, item.boundary_iou) == (iou(before, after), boundary_iou(before, after))
    else:
        assert (item.kind, item.iou, item.boundary_iou) == ("deleted", 0.0, 0.0)


def test_regions_without_an_id_or_with_the_same_one_are_all_kept(square) -> None:
    """As programs write them: "#N" is the N-th item's place, "a#2" the second shape with the id "a"."""
    first, second, third = (shifted(square, step) for step in (0, 3, 6))
    nameless = [{key: value for key, value in brush("", mask).items() if key != "id"} for mask in (first, second)]
    assert set(kinds(compare_annotation(annotation(*nameless, brush("", third)), Predicted([])))) == {"#0", "#1", "#2"}
    twins = (brush("a", first), brush("a#2", second), brush("a", third), brush("a", first))
    stored = Predicted([predicted("a", first), predicted("b", third)], {77: 1})
    assert kinds(compare_annotation(annotation(*twins, parent=77), stored)) == {
        "a": "accepted",
        "a#2": "added",
        "a#3": "accepted",  # in place of "b"
    }
    damaged = brush("a", first)
    damaged["value"] = {"format": "rle", "rle": [1], "brushlabels": ["red"]}
    compared = compare_annotation(annotation(damaged, brush("a", first), brush("a", second)), Predicted([]))
    assert (len(compared.corrections), compared.unread) == (2, 1)


def test_a_shape_that_is_there_twice_is_one_region(square) -> None:
    """A plain <Brush> with two tags of labels: the shape comes with each, and the label with one."""
    plain = brush("r", square) | {"type": "brush"}
    plain["value"] = {key: value for key, value in plain["value"].items() if key != "brushlabels"}
    (item,) = compare_annotation(annotation(plain, brush("r", square)), Predicted([])).corrections
    assert (item.region_id, item.label) == ("r", "red")


def test_antialiasing_alone_is_no_edit(square) -> None:
    drawn = square.astype(np.uint8) * 255
    drawn[2, 4:9] = 100  # a soft rim
    drawn[3, 4:9] = 200
    compared = compare_annotation(annotation(brush("r", drawn)), Predicted([predicted("r", square)]))
    assert kinds(compared) == {"r": "accepted"}


def test_another_label_is_an_edit(square) -> None:
    compared = compare_annotation(annotation(brush("r", square, "blue")), Predicted([predicted("r", square)]))
    (item,) = compared.corrections
    assert (item.kind, item.iou, item.changed_pixels) == ("edited", 1.0, 0)
    assert (item.label_before, item.label) == ("red", "blue")


def test_a_region_erased_to_nothing_is_deleted(square) -> None:
    nothing = np.zeros_like(square)
    compared = compare_annotation(
        annotation(brush("r", nothing), brush("never", nothing)), Predicted([predicted("r", square)])
    )
    assert kinds(compared) == {"r": "deleted"}


def test_what_the_annotator_says_about_origin_does_not_count(square) -> None:
    region = brush("r", ~square) | {"origin": "prediction"}
    assert kinds(compare_annotation(annotation(region), Predicted([predicted("r", square)]))) == {"r": "edited"}


def test_an_image_that_had_another_size(square) -> None:
    compared = compare_annotation(annotation(brush("r", square.T)), Predicted([predicted("r", square)]))
    assert [(item.kind, item.iou) for item in compared.corrections] == [("edited", 0.0)]


def test_an_annotation_from_nothing_deleted_nothing(square) -> None:
    stored = Predicted([predicted("r", square)], newest=1)
    assert kinds(compare_annotation(annotation(brush("new", square)), stored)) == {"new": "added"}


def test_the_parent_may_be_gone_but_a_kept_region_names_it(square) -> None:
    stored = Predicted([predicted("kept", square), predicted("gone", square)])
    compared = compare_annotation(annotation(brush("kept", square)), stored)
    assert kinds(compared) == {"kept": "accepted", "gone": "deleted"}


def test_a_parent_that_label_studio_asked_for_itself(square) -> None:
    stored = Predicted([predicted("gone", square, 1), predicted("old", square, 2)], newest=1)
    assert kinds(compare_annotation(annotation(parent=500), stored)) == {"gone": "deleted"}


def test_a_kept_region_is_better_than_a_guess(square) -> None:
    stored = Predicted([predicted("kept", square, 1), predicted("newer", square, 2)], newest=2)
    assert kinds(compare_annotation(annotation(brush("kept", square), parent=500), stored)) == {"kept": "accepted"}


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
    compared = compare_annotation(annotation(brush("typed", square), parent=500), stored)
    assert kinds(compared) == {"typed": "accepted", "gone": "deleted"}


def test_the_parent_of_another_model(square) -> None:
    assert compare_annotation(annotation(parent=500), Predicted([predicted("r", square)])).corrections == ()


def test_a_skipped_annotation_says_nothing(square) -> None:
    stored = Predicted([predicted("r", square)], {77: 1})
    compared = compare_annotation(annotation(parent=77, was_cancelled=True), stored)
    assert (compared.corrections, compared.state, compared.task_id) == ((), "skipped", 4)


def test_mask_and_label_beside_a_plain_brush(square) -> None:
    mask = brush("r", square)
    del mask["value"]["brushlabels"]
    label = {"id": "r", "type": "labels", "original_width": 16, "value": {"labels": ["red"]}}
    compared = compare_annotation(annotation(mask | {"type": "brush"}, label), Predicted([predicted("r", square)]))
    assert (kinds(compared), compared.unread) == ({"r": "accepted"}, 0)


def polygon_items(**said: list[str]) -> list[dict[str, Any]]:
    """A region of a plain <Polygon> as the page sends it: its value comes again with all that is said of it."""
    value = {"points": [[10, 10], [60, 10], [60, 60]], "closed": True}
    size = {"original_width": 16, "original_height": 16, "image_rotation": 0}
    region = {"id": "r", "type": "polygon", "from_name": "poly", "to_name": "image", "value": value} | size
    return [region, *(region | {"type": key, "from_name": key, "value": value | {key: said[key]}} for key in said)]


@pytest.mark.parametrize(
    ("said", "kind", "label"),
    [
        ({"choices": ["blurred"]}, "accepted", None),
        ({"choices": ["blurred"], "labels": ["red"]}, "edited", "red"),
        ({"textarea": ["red"], "choices": ["blurred"]}, "accepted", None),
    ],
)
def test_what_is_chosen_per_region_is_no_label(said: dict[str, list[str]], kind: str, label: str | None) -> None:
    items = polygon_items(**said)
    (item,) = compare_annotation(
        annotation(*items), Predicted([predicted("r", region_mask(items[0]), label=None)])
    ).corrections
    assert (item.kind, item.label) == (kind, label)


def test_a_region_with_several_labels_is_one_of_each() -> None:
    """<Labels choice="multiple">: left to the first one alone, the region would be missing from the other's masks."""
    items = polygon_items(labels=["red", "blue"])
    compared = compare_annotation(annotation(*items), Predicted([predicted("r", region_mask(items[0]))]))
    assert [(each.region_id, each.kind, each.label) for each in compared.corrections] == [
        ("r", "accepted", "red"),
        ("r#2", "added", "blue"),
    ]


def test_a_smart_box_that_was_left_on_the_page_is_kept_but_not_learned_from(square) -> None:
    """Recorded: Submit while 15 suggestions waited to be accepted. The box came, over most of the image."""
    value = {"x": 10.01150747986191, "y": 10.01150747986191, "width": 79.97698504027618, "height": 79.97698504027618}
    box = {"id": "NWjRluDgZL", "type": "rectanglelabels", "origin": "manual", "to_name": "image", "from_name": "box"}
    size = {"original_width": 16, "original_height": 12, "image_rotation": 0}
    box = {**box, **size, "value": {**value, "rotation": 0, "rectanglelabels": ["red"]}}
    for input_tags, unread in [(("box",), 1), ((), 0)]:
        stored = Predicted([predicted("r", square)], input_tags=input_tags)
        compared = compare_annotation(annotation(brush("r", square), box), stored)
        assert (kinds(compared), compared.unread) == ({"r": "accepted", "NWjRluDgZL": "added"}, unread)


def test_an_ellipse_that_an_annotator_draws_is_a_mask(square) -> None:
    """One in the place of what was predicted, and one of its own."""
    place = {"original_width": 16, "original_height": 12, "image_rotation": 0, "to_name": "image", "from_name": "oval"}
    round_ = {"y": 45.8, "radiusX": 17.5, "radiusY": 23.3, "rotation": 0, "ellipselabels": ["red"]}
    ellipses = [
        {"id": name, "type": "ellipselabels", "value": {"x": x, **round_}, **place}
        for name, x in [("redrawn", 40.6), ("new", 90.0)]
    ]
    compared = compare_annotation(annotation(*ellipses, parent=77), Predicted([predicted("gone", square)], {77: 1}))
    assert (kinds(compared), compared.unread) == ({"redrawn": "edited", "new": "added"}, 0)


def test_other_kinds_are_counted_and_never_deleted(recorded, square) -> None:
    """Key points, typed text and damaged masks are no masks; "po" was predicted as a square and is an ellipse here."""
    regions = recorded("regions")
    found = [regions[name] for name in ("poly", "rect", "vector", "kp", "text", "bitmask_rgba", "bad_rle")]
    strange = [None, "x", {}, {"value": 3}, {"id": "s", "value": {}, "original_width": 3}]
    stored = Predicted([predicted("po", square)], {77: 1})
    compared = compare_annotation(annotation(*found, *strange, parent=77), stored)
    assert ([item.kind for item in compared.corrections], compared.unread) == (["edited", "added", "added", "added"], 3)


@pytest.mark.parametrize(
    ("lead_time", "added", "capped"),
    [(21.5, 1, 21.5), (5000.0, 1, 660.0), (5000, 3, 780.0), (700.0, 0, 600.0), (None, 1, None), ("x", 1, None)],
)
def test_lead_time_is_capped_by_what_was_changed(square, lead_time, added: int, capped) -> None:
    result = [brush(f"r{number}", square) for number in range(added)]
    assert compare_annotation(annotation(*result, lead_time=lead_time), Predicted([])).capped_lead_time_s == capped


def test_thirty_nuclei_and_a_lunch_break(square) -> None:
    """Of 30 masks one was edited, one deleted, one drawn anew and one added: those four raise the cap, no others."""
    half, most = square.copy(), square.copy()
    half[3:5] = most[3] = False
    regions = [predicted(f"r{number}", square) for number in range(30)]
    untouched = [brush(region.region_id, square) for region in regions[:27]]
    changed = [brush("r27", half), brush("anew", most), brush("new", shifted(half, 6))]
    compared = compare_annotation(
        annotation(*untouched, *changed, parent=77, lead_time=5400.0), Predicted(regions, {77: 1})
    )
    assert (compared.lead_time_s, compared.capped_lead_time_s) == (5400.0, 600.0 + 4 * 60.0)
    skipped = annotation(*untouched, *changed, parent=77, lead_time=5400.0, was_cancelled=True)
    assert compare_annotation(skipped, Predicted(regions, {77: 1})).capped_lead_time_s == 600.0


@pytest.mark.parametrize(("who", "expected"), [(3, 3), ({"id": 3, "email": "a@b"}, 3), (None, None), ("x", None)])
def test_the_annotator(square, who: object, expected: int | None) -> None:
    compared = compare_annotation(annotation(brush("r", square), completed_by=who), Predicted([]))
    assert compared.annotator_id == expected


def test_a_mask_that_was_erased_a_little_in_the_browser(recorded) -> None:
    """Recorded: a brush region partly erased, a rectangle moved, a polygon deleted, a bitmask left untouched."""
    regions = recorded("regions")
    before = region_mask(regions["brush255"])
    stored = Predicted([predicted("br255", before), predicted("gone", before)], {619: 1})
    compared = compare_annotation(recorded("annotation_after_edit"), stored)
    assert kinds(compared) == {"br255": "edited", "bm": "added", "re": "added", "gone": "deleted"}
    assert compared.unread == 0
    edited = compared.corrections[0]
    assert 0.5 < edited.iou < 1
    assert edited.mask_after is not None
    assert not (edited.mask_after.full() & ~before).any()  # erasing adds nothing
    assert (compared.annotation_id, compared.annotator_id, compared.lead_time_s) == (7, 1, 21.975)


@pytest.mark.parametrize("name", ["created_in_browser_brush", "created_corrected_brush"])
def test_the_webhook_of_the_same(recorded, name: str) -> None:
    before = region_mask(recorded("regions")["brush255"])
    (found,) = event_annotations(recorded(f"requests/webhook_annotation_{name}")["json"])
    assert kinds(compare_annotation(found, Predicted([predicted("br255", before)])))["br255"] == "edited"
    assert kinds(compare_annotation(found, Predicted([])))["br255"] == "added"


def test_annotations_come_in_lists_too(recorded) -> None:
    found = event_annotations(recorded("requests/webhook_annotations_created")["json"])
    assert [compare_annotation(item, Predicted([])).annotation_id for item in found] == [4, 5]


@pytest.mark.parametrize("payload", [{}, {"annotation": None}, {"annotation": [{"id": 1}, 5]}, {"annotation": "x"}])
def test_a_payload_without_annotations(payload: dict[str, Any]) -> None:
    with pytest.raises(LabelingError):
        event_annotations(payload)


SHAPES = ["polygonlabels", "vectorlabels", "rectanglelabels"]


@pytest.mark.parametrize("kind", ["brushlabels", "bitmasklabels", *SHAPES])
def test_every_kind_is_accepted_as_it_was_drawn(square, kind: str) -> None:
    region = draw(kind, "r", square)
    stored = Predicted([predicted("r", region_mask(region))], drawn_as={"r": region})
    (item,) = compare_annotation(annotation(region), stored).corrections
    assert (item.kind, item.region_type, item.iou, item.boundary_iou) == ("accepted", kind, 1.0, 1.0)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(("moved_percent", "expected"), [(0.004, "accepted"), (10, "edited")])
def test_what_the_pages_arithmetic_changes_is_no_edit(square, kind: str, moved_percent: float, expected: str) -> None:
    """A drag of a tenth of the picture is one. A vertex a hundredth of a pixel off may still fill another pixel."""
    region, value = draw(kind, "r", square), draw(kind, "r", square)["value"]
    if "points" in value:
        value["points"][0][0] -= moved_percent
    else:
        (value["vertices"][0] if "vertices" in value else value)["x"] -= moved_percent
    stored = Predicted([predicted("r", region_mask(region))], drawn_as={"r": region})
    (item,) = compare_annotation(annotation(region | {"value": value}), stored).corrections
    assert item.kind == expected
    assert (item.changed_pixels > 0) == (expected == "edited")


def test_vertices_are_counted(square) -> None:
    region = draw("polygonlabels", "r", square)
    stored = Predicted([predicted("r", region_mask(region))], drawn_as={"r": region})
    more = region["value"] | {"points": [*region["value"]["points"], [50, 50]]}
    (item,) = compare_annotation(annotation(region | {"value": more}), stored).corrections
    assert (item.vertices_before, item.vertices_after) == (4, 5)


def test_regions_on_another_image_are_not_ours(square) -> None:
    elsewhere = brush("other", square) | {"to_name": "second"}
    assert kinds(compare_annotation(annotation(brush("r", square), elsewhere), Predicted([]))) == {"r": "added"}


def shifted(mask: np.ndarray, pixels: int) -> np.ndarray:
    return np.roll(mask, pixels, axis=1)


def test_what_was_deleted_and_drawn_anew_is_an_edit(square) -> None:
    """Two touching objects, both redrawn: each is matched with its own, though both overlap one of the new ones."""
    left, right = square, shifted(square, 5)
    stored = Predicted([predicted("left", left), predicted("right", right)], {77: 1})
    drawn = [brush("new right", shifted(right, 1)), brush("new left", shifted(left, 1))]
    compared = compare_annotation(annotation(*drawn, parent=77), stored)
    assert {(item.predicted_region_id, item.region_id, item.kind) for item in compared.corrections} == {
        ("left", "new left", "edited"),
        ("right", "new right", "edited"),
    }
    assert [item.iou for item in compared.corrections] == pytest.approx([20 / 30] * 2)


def test_a_region_drawn_elsewhere_replaces_nothing(square) -> None:
    stored = Predicted([predicted("gone", square)], {77: 1})
    compared = compare_annotation(annotation(brush("new", shifted(square, 4)), parent=77), stored)
    assert kinds(compared) == {"new": "added", "gone": "deleted"}


def test_redrawn_under_another_label(square) -> None:
    """The same label is matched first, however well the other one fits."""
    stored = Predicted([predicted("red", square), predicted("blue", square, label="blue")], {77: 1})
    drawn = [brush("a", square, "blue"), brush("b", shifted(square, 1), "green")]
    compared = compare_annotation(annotation(*drawn, parent=77), stored)
    assert {(item.predicted_region_id, item.region_id, item.label, item.kind) for item in compared.corrections} == {
        ("blue", "a", "blue", "accepted"),
        ("red", "b", "green", "edited"),
    }


def test_what_was_asked_without_a_prediction(square) -> None:
    compared = compare_annotation(annotation(brush("r", square)), Predicted([]))
    assert (compared.prediction_id, compared.model_version, compared.asked) == (None, None, CONFIGURED)


@pytest.mark.parametrize(
    ("updated_at", "expected"),
    [
        ("2026-11-22T09:22:18.290391Z", datetime(2026, 11, 22, 9, 22, 18, 290391, UTC)),
        ("2026-11-22T09:22:18", datetime(2026, 11, 22, 9, 22, 18, tzinfo=UTC)),
        (None, None),
        ("soon", None),
        (7, None),
    ],
)
def test_the_annotations_own_time(updated_at: object, expected: datetime | None) -> None:
    assert compare_annotation(annotation(updated_at=updated_at), Predicted([])).at == expected


def test_ground_truth(square) -> None:
    assert compare_annotation(annotation(ground_truth=True), Predicted([])).ground_truth
    assert not compare_annotation(annotation(), Predicted([])).ground_truth
