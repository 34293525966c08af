"""What an annotator made of each predicted mask: geometry decides, Label Studio's `origin` can be wrong."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from argenseg_model.metrics import boundary_iou, iou
from labeling.corrections.annotated_regions import AnnotatedRegion, is_same_shape, read_regions
from labeling.corrections.matching import match_regions
from labeling.errors import LabelingError
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.kinds import count_vertices
from labeling.store import Annotation, AskedPrompt, Correction, CorrectionKind, PredictedRegionRecord

LEAD_TIME_CAP_S = 600.0  # Label Studio counts idle time too: a lunch break is no work
LEAD_TIME_CAP_PER_CHANGE_S = 60.0
_BOUNDARY = 0.02  # its width, of the image's diagonal: what `boundary_iou` takes by default


@dataclass(frozen=True)
class PredictionOrigin:
    """One of our predictions: its version, and what it was asked."""

    model_version: str
    asked: tuple[AskedPrompt, ...]


class PredictedRegions(Protocol):
    """Where what was predicted is looked up, in one project."""

    @property
    def image_tag(self) -> str | None:
        """The tag of the image that is predicted; None if it is not known."""
        ...

    @property
    def input_tags(self) -> tuple[str, ...]:
        """The tags of smart boxes, which ask for masks."""
        ...

    def find(self, task_id: int, region_id: str) -> PredictedRegionRecord | None:
        """The region that we predicted for the task under this id."""
        ...

    def of_prediction(self, prediction_id: int) -> list[PredictedRegionRecord]:
        """All regions of one of our predictions."""
        ...

    def drawn(self, region: PredictedRegionRecord) -> dict[str, Any] | None:
        """A predicted region as it was sent to Label Studio."""
        ...

    def sent_prediction(self, task_id: int, label_studio_prediction_id: int, *, or_newest: bool) -> int | None:
        """Our id of a prediction that Label Studio holds; see `store.predictions.find_sent`."""
        ...

    def prediction(self, prediction_id: int) -> PredictionOrigin:
        """One of our predictions."""
        ...

    def asked(self, task_id: int) -> tuple[AskedPrompt, ...]:
        """What the label config asks about a task of which there is no prediction."""
        ...


def label_studio_number(value: Any) -> int:
    """An id of Label Studio, which are 32 bits long, as the store's are. ValueError for any other number."""
    number = int(value)
    if not 0 < number < 2**31:
        raise ValueError("an id must lie between 0 and 2^31")
    return number


def event_annotations(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations of an event, which come alone or as a list."""
    found = payload.get("annotation", payload.get("annotations"))
    items = found if isinstance(found, list) else [found]
    annotations = [item for item in items if isinstance(item, dict)]
    if len(annotations) < len(items):
        raise LabelingError("The event holds something else than annotations.")
    return annotations


def compare_annotation(annotation: dict[str, Any], predicted: PredictedRegions) -> Annotation:
    """Compare an annotation with what was predicted; a skipped one (`was_cancelled`) says nothing about masks.

    A region whose id we predicted is `accepted` if its pixels (from 128 on) and its label are those predicted, else
    `edited`, or `deleted` if nothing is left of it. The regions of the prediction that the annotation began from, and
    that it no longer has, are `deleted`, and those that we did not predict are `added`; but where one of these covers
    one of those (IoU >= 0.5, matched one to one), the annotator drew it anew, and it is `edited`.

    The lead time is capped at 600 s, and 60 s more for each region that is not `accepted`: what was left as it was is
    looked at, which takes no minutes.
    """
    annotation_id, task_id = label_studio_number(annotation["id"]), label_studio_number(annotation["task"])
    regions, unread = read_regions(annotation.get("result") or [], predicted.image_tag, predicted.input_tags)
    kept = {region_id: found for region_id in regions if (found := predicted.find(task_id, region_id)) is not None}
    began_from = _began_from(annotation, task_id, kept.values(), predicted)
    sent = None if began_from is None else predicted.prediction(began_from)
    skipped = bool(annotation.get("was_cancelled"))
    changes = [] if skipped else _changes(regions, unread, kept, began_from, predicted)
    corrections = tuple(change.correction(predicted) for change in changes)
    lead_time_s = _lead_time_s(annotation.get("lead_time"))
    return Annotation(
        annotation_id=annotation_id,
        task_id=task_id,
        state="skipped" if skipped else "submitted",
        corrections=corrections,
        at=_time(annotation.get("updated_at")),
        annotator_id=_annotator_id(annotation),
        lead_time_s=lead_time_s,
        capped_lead_time_s=None if lead_time_s is None else min(lead_time_s, _lead_time_cap_s(corrections)),
        ground_truth=annotation.get("ground_truth") is True,
        prediction_id=began_from,
        model_version=sent.model_version if sent else None,
        asked=sent.asked if sent else predicted.asked(task_id),
        unread=0 if skipped else len(unread),
    )


@dataclass(frozen=True)
class _Change:
    """A predicted region, and what became of it: one of the two may be missing."""

    before: PredictedRegionRecord | None
    after: AnnotatedRegion | None

    def correction(self, predicted: PredictedRegions) -> Correction:
        before, after = self.before, self.after
        drawn = (before and predicted.drawn(before)) or {}
        kind, value_before = str(drawn.get("type", "")), drawn.get("value") or {}
        is_unmoved = before is not None and after is not None and is_same_shape(kind, value_before, after.value)
        mask_before = before.shape if before else None
        mask_after = mask_before if is_unmoved else after.shape if after else None
        difference = _compare(mask_before, mask_after)
        became = self._kind(is_same=difference.is_none)
        return Correction(
            region_id=after.region_id if after else before.region_id if before else "",
            region_type=after.region_type if after else kind,
            label=before.label if became == "deleted" and before else after.label if after else None,
            kind=became,
            mask_before=mask_before,
            mask_after=mask_after,
            iou=difference.iou,
            boundary_iou=difference.boundary_iou,
            changed_pixels=difference.changed_pixels,
            predicted_region_id=before.region_id if before else None,
            label_before=before.label if before else None,
            prompt=before.prompt if before else None,
            score=before.score if before else None,
            model_version=before.model_version if before else None,
            interactive=before is not None and before.interactive,
            vertices_before=count_vertices(kind, value_before),
            vertices_after=after.vertices if after else None,
        )

    def _kind(self, *, is_same: bool) -> CorrectionKind:
        if self.before is None:
            return "added"
        if self.after is None or self.after.shape is None:
            return "deleted"
        return "accepted" if is_same and self.after.label == self.before.label else "edited"


@dataclass(frozen=True)
class _Difference:
    iou: float
    boundary_iou: float
    changed_pixels: int

    @property
    def is_none(self) -> bool:
        return self.iou == 1.0


def _compare(before: CroppedMask | None, after: CroppedMask | None) -> _Difference:
    """Between two masks; all is changed where one is missing, or the image had another size."""
    if before is None or after is None or (before.height, before.width) != (after.height, after.width):
        drawn = before if after is None else after
        return _Difference(0.0, 0.0, 0 if drawn is None else int(np.count_nonzero(drawn.crop)))
    first, second = _on_one_window(before, after)
    boundary_px = max(1, round(_BOUNDARY * float(np.hypot(before.height, before.width))))
    rows, columns = first.shape
    ratio = boundary_px / max(1.0, float(np.hypot(rows, columns)))  # as wide as on the image, not as on the window
    return _Difference(iou(first, second), boundary_iou(first, second, ratio), int(np.count_nonzero(first != second)))


def _on_one_window(*masks: CroppedMask) -> list[NDArray[np.bool_]]:
    """Masks of one image on the smallest window that holds their crops; around it is nothing but background."""
    windows = [mask.window for mask in masks]
    top, left = (min(window[axis].start for window in windows) for axis in (0, 1))
    bottom, right = (max(window[axis].stop for window in windows) for axis in (0, 1))
    return [
        replace(mask, top=mask.top - top, left=mask.left - left, height=bottom - top, width=right - left).full()
        for mask in masks
    ]


def _changes(
    regions: dict[str, AnnotatedRegion],
    unread: set[str],
    kept: dict[str, PredictedRegionRecord],
    began_from: int | None,
    predicted: PredictedRegions,
) -> list[_Change]:
    new = [region for region_id, region in regions.items() if region_id not in kept and region.shape is not None]
    prediction_ids = {region.prediction_id for region in kept.values() if not region.interactive}
    prediction_ids |= {began_from} if began_from is not None else set()
    gone = [
        region
        for prediction_id in sorted(prediction_ids)
        for region in predicted.of_prediction(prediction_id)
        if region.region_id not in regions and region.region_id not in unread
    ]
    redrawn = match_regions(
        [(region.label, region.shape) for region in gone],
        [(region.label, region.shape) for region in new if region.shape is not None],
    )
    gone_again, new_again = {row for row, _ in redrawn}, {column for _, column in redrawn}
    return [
        *(_Change(kept[region_id], region) for region_id, region in regions.items() if region_id in kept),
        *(_Change(gone[row], new[column]) for row, column in redrawn),
        *(_Change(None, region) for column, region in enumerate(new) if column not in new_again),
        *(_Change(region, None) for row, region in enumerate(gone) if row not in gone_again),
    ]


def _began_from(
    annotation: dict[str, Any], task_id: int, kept: Iterable[PredictedRegionRecord], predicted: PredictedRegions
) -> int | None:
    """Our prediction that the annotation began from: its parent, else the newest of which it kept a region.

    An annotation that began from nothing deleted nothing; a suggestion that was not taken is not deleted either.
    """
    predictions = {region.prediction_id for region in kept if not region.interactive}
    parent = annotation.get("parent_prediction")
    sent = None
    if isinstance(parent, int):
        sent = predicted.sent_prediction(task_id, parent, or_newest=not predictions)
    return sent if sent is not None else max(predictions, default=None)


def _annotator_id(annotation: dict[str, Any]) -> int | None:
    who = annotation.get("completed_by")
    who = who.get("id") if isinstance(who, dict) else who
    return who if isinstance(who, int) and not isinstance(who, bool) and 0 < who < 2**31 else None


def _lead_time_s(reported: object) -> float | None:
    """None for what is no time: whoever imports annotations can write anything there."""
    if not isinstance(reported, int | float) or isinstance(reported, bool) or not 0 <= reported <= sys.float_info.max:
        return None
    return float(reported)


def _lead_time_cap_s(corrections: Iterable[Correction]) -> float:
    changed = sum(correction.kind != "accepted" for correction in corrections)
    return LEAD_TIME_CAP_S + LEAD_TIME_CAP_PER_CHANGE_S * changed


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        return at if at is None else at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
