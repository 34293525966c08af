"""Turn a stored webhook event into corrections."""

import logging
from dataclasses import dataclass
from typing import Any

from labeling.corrections.compare import AnnotationReview, event_annotations, review_annotation
from labeling.errors import LabelingError, StoreError
from labeling.store.records import EventRecord, PredictedRegionRecord, Project
from labeling.store.store import Store

logger = logging.getLogger(__name__)

_REVIEWED = {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"}
_DELETED = "ANNOTATIONS_DELETED"
_MAX_ERROR_CHARACTERS = 1000


def process_event(store: Store, event_id: int) -> int:
    """Make an event into corrections, and return how many. Doing so again changes nothing.

    Whatever the payload holds, it does not raise: what was wrong is kept with the event. StoreError means that the
    store did not work; the event stays unprocessed, and its turn comes again.
    """
    event = store.get_event(event_id)
    try:
        outcome = _process(store, event)
    except StoreError as error:
        if error.is_transient:
            raise
        outcome = _Outcome(errors=(str(error),))
    except Exception as error:  # a payload can be wrong in any way, and must not come back for ever
        logger.exception("event %d (%s) could not be processed", event_id, event.action)
        outcome = _Outcome(errors=(f"{type(error).__name__}: {error}",))
    store.mark_event_processed(event_id, _text(outcome.errors), _text(outcome.notes))
    return outcome.corrections


@dataclass(frozen=True)
class _Outcome:
    corrections: int = 0
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _process(store: Store, event: EventRecord) -> _Outcome:
    if event.action == _DELETED:
        deleted = [int(annotation["id"]) for annotation in event_annotations(event.payload)]
        store.save_corrections(event.id, _project(store, event), [], deleted)
        return _Outcome(notes=(f"annotations {deleted} were deleted",))
    if event.action not in _REVIEWED:
        return _Outcome(notes=("not about annotations",))
    project = _project(store, event)
    reviews: list[AnnotationReview] = []
    errors = []
    for annotation in event_annotations(event.payload):
        try:
            reviews.append(review_annotation(annotation, _ProjectRegions(store, project)))
        except (KeyError, TypeError, ValueError) as error:  # the other annotations of the event still count
            errors.append(f"annotation {annotation.get('id')!r}: {type(error).__name__}: {error}")
    corrections = [correction for review in reviews for correction in review.corrections]
    store.save_corrections(event.id, project, corrections, [review.annotation_id for review in reviews])
    return _Outcome(len(corrections), tuple(errors), tuple(note for review in reviews for note in _notes(review)))


def _notes(review: AnnotationReview) -> list[str]:
    notes = [f"annotation {review.annotation_id} was skipped by its annotator"] if review.was_cancelled else []
    unread = f"annotation {review.annotation_id} has {review.unread} regions that are no readable brush masks"
    return [*notes, unread] if review.unread else notes


def _project(store: Store, event: EventRecord) -> Project:
    """The event's project, known or not, with the label config that came along."""
    told: Any = event.payload.get("project")
    if not isinstance(told, dict) or not isinstance(told.get("id"), int):
        raise LabelingError("The event names no project.")
    known = store.find_project(told["id"], event.label_studio_url)
    label_config = told.get("label_config") or (known.label_config if known else "")
    if known is not None and known.label_config == label_config:
        return known
    url = event.label_studio_url or (known.label_studio_url if known else "")
    return store.upsert_project(url, told["id"], str(label_config))


@dataclass(frozen=True)
class _ProjectRegions:
    """The store's predicted regions, of one project."""

    store: Store
    project: Project

    def find(self, task_id: int, region_id: str) -> PredictedRegionRecord | None:
        return self.store.find_predicted_region(self.project, task_id, region_id)

    def of_prediction(self, prediction_id: int) -> list[PredictedRegionRecord]:
        return self.store.predicted_regions(prediction_id)

    def sent_prediction(self, task_id: int, label_studio_prediction_id: int, *, or_newest: bool) -> int | None:
        return self.store.find_sent_prediction(self.project, task_id, label_studio_prediction_id, or_newest=or_newest)


def _text(lines: tuple[str, ...]) -> str | None:
    """Lines as one text that any database takes, lone surrogates included."""
    return "; ".join(lines).encode("utf-8", "replace").decode()[:_MAX_ERROR_CHARACTERS] or None
