"""Turn a stored event into annotations, with the corrections in them."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from labeling.corrections.compare import PredictionOrigin, compare_annotation, event_annotations, label_studio_number
from labeling.errors import LabelConfigError, LabelingError, StoreError
from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.prompts.plan import PromptPlan, plan_prompts
from labeling.prompts.task_values import task_text
from labeling.store import (
    Annotation,
    AskedPrompt,
    CorrectionKind,
    EventRecord,
    PredictedRegionRecord,
    PredictionRequest,
    Project,
    Store,
)
from labeling.store.annotation_syncs import FOUND

logger = logging.getLogger(__name__)

_ANNOTATED = {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED", FOUND}
_DELETED = "ANNOTATIONS_DELETED"
_TASKS_DELETED = "TASKS_DELETED"  # their annotations go with them, and no event tells of these
_MAX_ERROR_CHARACTERS = 1000
_MAX_NAME_CHARACTERS = 40

Made = TypeVar("Made")


def record_corrections(store: Store, event_id: int) -> Counter[CorrectionKind]:
    """Make an event into corrections, and return how many of each kind. Doing so again changes nothing.

    Whatever the payload holds, it does not raise: what was wrong is kept with the event. StoreError means that the
    store did not work; the event stays unprocessed, and its turn comes again.
    """
    event = store.events.get(event_id)
    try:
        outcome = _process(store, event)
    except StoreError as error:
        if error.is_transient:
            raise
        outcome = _Outcome(errors=(str(error),))
    except Exception as error:  # a payload can be wrong in any way, and must not come back for ever
        logger.exception("event %d (%s) could not be processed", event_id, event.action)
        outcome = _Outcome(errors=(f"{type(error).__name__}: {error}",))
    store.events.mark_processed(event_id, _text(outcome.errors), _text(outcome.notes))
    return outcome.corrections


@dataclass(frozen=True)
class _Outcome:
    corrections: Counter[CorrectionKind] = field(default_factory=Counter)
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _process(store: Store, event: EventRecord) -> _Outcome:
    if event.action not in {*_ANNOTATED, _DELETED, _TASKS_DELETED}:
        number = _project_number(event)
        known = None if number is None else store.projects.find(number, event.label_studio_url)
        if known is not None:  # it may carry tasks that were erased
            store.erasure.scrub_event(event, known)
        return _Outcome(notes=("not about annotations",))
    project = _project(store, event)
    event = store.erasure.scrub_event(event, project)
    if event.action == _TASKS_DELETED:
        task_ids, errors = _each(event.payload["tasks"], "task", lambda task: label_studio_number(task["id"]))
        store.exclusions.leave_out_deleted_tasks(project, task_ids)
        return _Outcome(errors=errors, notes=(f"tasks {task_ids} were deleted",))
    if event.action == _DELETED:
        deleted, errors = _each(event_annotations(event.payload), "annotation", _deletion)
        store.annotations.save(event.id, project, deleted)
        notes = (f"annotations {[annotation.annotation_id for annotation in deleted]} were deleted",)
        return _Outcome(errors=errors, notes=notes)
    regions = _ProjectRegions(store, project, event.payload)
    # what was erased on request is left as a stub, see `ErasureStore.erase`
    items = [item for item in event_annotations(event.payload) if item.get("erased") is not True]
    annotations, errors = _each(items, "annotation", lambda item: compare_annotation(item, regions))
    annotations = [
        replace(annotation, image_reference=regions.image_of(annotation.task_id)) for annotation in annotations
    ]
    new = store.annotations.save(event.id, project, annotations)
    for annotation in annotations:
        if annotation.task_id is not None and annotation.image_reference is not None:
            store.images.record(project, annotation.task_id, annotation.image_reference)
    noted = [note for annotation in annotations for note in _notes(annotation)]
    noted += [f"{len(annotations) - new} annotations were known already, or erased"] if new < len(annotations) else []
    kinds = Counter(correction.kind for annotation in annotations for correction in annotation.corrections)
    return _Outcome(kinds, errors, tuple(noted))


def _each(
    items: Iterable[dict[str, Any]], what: str, make: Callable[[dict[str, Any]], Made]
) -> tuple[list[Made], tuple[str, ...]]:
    """What can be made of each item, and what is wrong with those that can not: the others of the event still count."""
    made, errors = [], []
    for item in items:
        try:
            made.append(make(item))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            name = repr(item.get("id") if isinstance(item, dict) else item)[:_MAX_NAME_CHARACTERS]
            errors.append(f"{what} {name}: {type(error).__name__}: {error}")
    return made, tuple(errors)


def _deletion(annotation: dict[str, Any]) -> Annotation:
    return Annotation(label_studio_number(annotation["id"]), None, "deleted")


def _notes(annotation: Annotation) -> list[str]:
    notes = (
        [f"annotation {annotation.annotation_id} was skipped by its annotator"] if annotation.state == "skipped" else []
    )
    unread = f"annotation {annotation.annotation_id} has {annotation.unread} regions that are no readable masks"
    return [*notes, unread] if annotation.unread else notes


def _project(store: Store, event: EventRecord) -> Project:
    """The event's project, known or not, with the label config that came along."""
    number = _project_number(event)
    if number is None:
        raise LabelingError("The event names no project.")
    known = store.projects.find(number, event.label_studio_url)
    label_config = event.payload["project"].get("label_config") or (known.label_config if known else "")
    if known is not None and known.label_config == label_config:
        return known
    url = event.label_studio_url or (known.label_studio_url if known else "")
    return store.projects.upsert(url, number, str(label_config))


def _project_number(event: EventRecord) -> int | None:
    named = event.payload.get("project")
    number = named.get("id") if isinstance(named, dict) else None
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number if isinstance(number, int) else None


class _ProjectRegions:
    """What was predicted in one project, and the tasks that an event carries."""

    def __init__(self, store: Store, project: Project, payload: dict[str, Any]) -> None:
        self._store, self._project = store, project
        self._predictions: dict[int, PredictionRequest] = {}
        found = payload.get("task", payload.get("tasks"))
        tasks = found if isinstance(found, list) else [found]
        self._task_data = {
            task["id"]: task["data"]
            for task in tasks
            if isinstance(task, dict) and isinstance(task.get("id"), int) and isinstance(task.get("data"), dict)
        }
        self._config: LabelConfig | None = None
        with suppress(LabelConfigError):
            self._config = parse_label_config(project.label_config)

    @property
    def image_tag(self) -> str | None:
        return self._config.image.name if self._config else None

    @property
    def input_tags(self) -> tuple[str, ...]:
        return self._config.input_tags if self._config else ()

    def find(self, task_id: int, region_id: str) -> PredictedRegionRecord | None:
        return self._store.predictions.find_region(self._project, task_id, region_id)

    def of_prediction(self, prediction_id: int) -> list[PredictedRegionRecord]:
        return self._store.predictions.regions(prediction_id)

    def drawn(self, region: PredictedRegionRecord) -> dict[str, Any] | None:
        regions = self._request(region.prediction_id).result or []
        return next((item for item in regions if item.get("id") == region.region_id), None)

    def sent_prediction(self, task_id: int, label_studio_prediction_id: int, *, or_newest: bool) -> int | None:
        return self._store.predictions.find_sent(
            self._project, task_id, label_studio_prediction_id, or_newest=or_newest
        )

    def prediction(self, prediction_id: int) -> PredictionOrigin:
        request = self._request(prediction_id)
        return PredictionOrigin(request.model_version, _asked(request.plan))

    def asked(self, task_id: int) -> tuple[AskedPrompt, ...]:
        if self._config is None:
            return ()
        return _asked(plan_prompts(self._config, self._task_data.get(task_id, {})))

    def image_of(self, task_id: int | None) -> str | None:
        """What the event says about the task's image."""
        data = self._task_data.get(task_id or 0, {})
        return task_text(data, self._config.image_key) if self._config else None

    def _request(self, prediction_id: int) -> PredictionRequest:
        if prediction_id not in self._predictions:
            self._predictions[prediction_id] = self._store.predictions.get(prediction_id)
        return self._predictions[prediction_id]


def _asked(plan: PromptPlan) -> tuple[AskedPrompt, ...]:
    return tuple(dict.fromkeys(AskedPrompt(item.label, item.prompt) for item in plan.items))


def _text(lines: tuple[str, ...]) -> str | None:
    """Lines as one text that any database takes, lone surrogates included."""
    return "; ".join(lines).encode("utf-8", "replace").decode()[:_MAX_ERROR_CHARACTERS] or None
