"""What an annotator made of each predicted mask: geometry decides, Label Studio's `origin` can be wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from argenseg_model.metrics import iou
from labeling.errors import LabelingError, RegionError
from labeling.regions.brush import brush_mask
from labeling.store.records import Correction, CorrectionKind, PredictedRegionRecord

__all__ = ["AnnotationReview", "Correction", "PredictedRegions", "corrections_from_event", "review_annotation"]

LEAD_TIME_CAP_S = 600.0  # for each region: Label Studio counts idle time too


class PredictedRegions(Protocol):
    """Where predicted regions are looked up, in one project."""

    def find(self, task_id: int, region_id: str) -> PredictedRegionRecord | None:
        """The region that we predicted for the task under this id."""
        ...

    def of_prediction(self, prediction_id: int) -> list[PredictedRegionRecord]:
        """All regions of one of our predictions."""
        ...

    def sent_prediction(self, task_id: int, label_studio_prediction_id: int, *, or_newest: bool) -> int | None:
        """Our id of a prediction that Label Studio holds; see `Store.find_sent_prediction`."""
        ...


@dataclass(frozen=True)
class AnnotationReview:
    """What became of the predicted regions in one annotation. `unread` counts what is no readable brush mask."""

    annotation_id: int
    corrections: tuple[Correction, ...]
    unread: int
    was_cancelled: bool


def corrections_from_event(payload: dict[str, Any], predicted: PredictedRegions) -> list[Correction]:
    """All corrections that an annotation event holds."""
    reviews = [review_annotation(annotation, predicted) for annotation in event_annotations(payload)]
    return [correction for review in reviews for correction in review.corrections]


def event_annotations(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations of an event, which come alone or as a list."""
    found = payload.get("annotation", payload.get("annotations"))
    items = found if isinstance(found, list) else [found]
    annotations = [item for item in items if isinstance(item, dict)]
    if len(annotations) < len(items):
        raise LabelingError("The event holds something else than annotations.")
    return annotations


def review_annotation(annotation: dict[str, Any], predicted: PredictedRegions) -> AnnotationReview:
    """Compare an annotation with what was predicted; a skipped one (`was_cancelled`) says nothing about masks.

    A brush region whose id we predicted is `accepted` if its pixels (from 128 on) and its label are those predicted,
    else `edited`, or `deleted` if nothing is left of it; one that we did not predict is `added`. The regions of the
    prediction that the annotation began from, and that it no longer has, are `deleted`.
    """
    annotation_id, task_id = int(annotation["id"]), int(annotation["task"])
    if annotation.get("was_cancelled"):
        return AnnotationReview(annotation_id, (), 0, True)
    regions, unread = _read_regions(annotation.get("result") or [])
    before = {region_id: predicted.find(task_id, region_id) for region_id in regions}
    changes = [
        _Change(region_id, before[region_id], region.label, region.mask) for region_id, region in regions.items()
    ]
    kept = [region for region in before.values() if region is not None]
    for region in _began_from(annotation, task_id, kept, predicted):
        if region.region_id not in regions and region.region_id not in unread:
            changes.append(_Change(region.region_id, region, region.label, None))
    lead_time = annotation.get("lead_time")
    lead_time_s = float(lead_time) if isinstance(lead_time, int | float) else None
    corrections = [
        Correction(
            annotation_id=annotation_id,
            task_id=task_id,
            region_id=change.region_id,
            label=change.label,
            kind=change.kind,
            mask_before=None if change.before is None else change.before.mask,
            mask_after=change.after,
            iou=change.iou,
            annotator_id=_annotator_id(annotation),
            lead_time_s=lead_time_s,
            capped_lead_time_s=None
            if lead_time_s is None
            else min(lead_time_s, LEAD_TIME_CAP_S * max(1, len(regions))),
            model_version=None if change.before is None else change.before.model_version,
        )
        for change in changes
        if change.before is not None or change.after is not None
    ]
    return AnnotationReview(annotation_id, tuple(corrections), len(unread), False)


@dataclass(frozen=True)
class _Region:
    """A brush region of an annotation; `mask` is None if nothing is painted."""

    label: str | None
    mask: NDArray[np.bool_] | None


@dataclass(frozen=True)
class _Change:
    region_id: str
    before: PredictedRegionRecord | None
    label: str | None
    after: NDArray[np.bool_] | None

    @property
    def kind(self) -> CorrectionKind:
        if self.before is None:
            return "added"
        if self.after is None:
            return "deleted"
        same = self.label == self.before.label and np.array_equal(self.before.mask, self.after)
        return "accepted" if same else "edited"

    @property
    def iou(self) -> float:
        """0 also where the image had another size when it was predicted."""
        if self.before is None or self.after is None or self.before.mask.shape != self.after.shape:
            return 0.0
        return iou(self.before.mask, self.after)


def _read_regions(result: Iterable[Any]) -> tuple[dict[str, _Region], set[str]]:
    """Brush regions by id, and the ids of those that we cannot read.

    A region's parts (mask and label beside a plain <Brush>) are items of one id; items without geometry, such as typed
    text, are none.
    """
    items: dict[str, list[dict[str, Any]]] = {}
    for item in result:
        if isinstance(item, dict) and isinstance(item.get("value"), dict) and "original_width" in item:
            items.setdefault(str(item.get("id")), []).append(item)
    regions, unread = {}, set()
    for region_id, parts in items.items():
        try:
            mask = brush_mask(next(part for part in parts if "rle" in part["value"]))
        except (StopIteration, RegionError):
            unread.add(region_id)
        else:
            regions[region_id] = _Region(next(_labels(parts), None), mask if mask.any() else None)
    return regions, unread


def _labels(parts: list[dict[str, Any]]) -> Iterator[str]:
    for part in parts:
        labels = part["value"].get("brushlabels") or part["value"].get("labels")
        if isinstance(labels, list):
            yield from (label for label in labels if isinstance(label, str))


def _began_from(
    annotation: dict[str, Any], task_id: int, kept: list[PredictedRegionRecord], predicted: PredictedRegions
) -> list[PredictedRegionRecord]:
    """The regions of the predictions that the annotation began from: of its parent, and of those it kept regions of.

    An annotation that began from nothing deleted nothing; a suggestion that was not taken is not deleted either.
    """
    predictions = {region.prediction_id for region in kept if not region.interactive}
    parent = annotation.get("parent_prediction")
    if isinstance(parent, int):
        sent = predicted.sent_prediction(task_id, parent, or_newest=not predictions)
        predictions |= {sent} if sent is not None else set()
    return [region for prediction_id in sorted(predictions) for region in predicted.of_prediction(prediction_id)]


def _annotator_id(annotation: dict[str, Any]) -> int | None:
    who = annotation.get("completed_by")
    who = who.get("id") if isinstance(who, dict) else who
    return who if isinstance(who, int) else None
