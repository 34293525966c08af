"""What the store takes and hands out about annotations and corrections: frozen, detached from any session."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from labeling.regions.cropped_mask import CroppedMask
from labeling.store.records import Project

CorrectionKind = Literal["accepted", "edited", "deleted", "added"]
ReviewState = Literal["submitted", "skipped", "deleted"]
ErasureScope = Literal["task", "annotation", "annotator"]
ExclusionScope = Literal["task", "annotation", "annotator", "region"]


@dataclass(frozen=True)
class EventRecord:
    """A webhook's payload as it came. `note` says what was skipped in it."""

    id: int
    action: str
    payload: dict[str, Any]
    label_studio_url: str | None
    received_at: datetime
    processed_at: datetime | None
    error: str | None
    note: str | None


@dataclass(frozen=True)
class AskedPrompt:
    """A prompt that was asked for a label; a label may have several."""

    label: str | None
    prompt: str


@dataclass(frozen=True)
class Correction:
    """What an annotator made of one region. A mask is None where there was none on that side.

    `iou` and `boundary_iou` are between the two masks (0 for deleted and added ones). `predicted_region_id` differs
    from `region_id` where the annotator deleted a region and drew it anew. `vertices_before` and `vertices_after` are
    those of polygons and vectors. `prompt`, `score` and `model_version` are the predicted region's.
    """

    region_id: str
    region_type: str
    label: str | None
    kind: CorrectionKind
    mask_before: CroppedMask | None
    mask_after: CroppedMask | None
    iou: float
    boundary_iou: float
    changed_pixels: int
    predicted_region_id: str | None = None
    label_before: str | None = None
    prompt: str | None = None
    score: float | None = None
    model_version: str | None = None
    interactive: bool = False
    vertices_before: int | None = None
    vertices_after: int | None = None


@dataclass(frozen=True)
class Review:
    """One annotation as one event told it; `skipped` and `deleted` ones have no corrections.

    `prediction_id` and `model_version` are those of our prediction that it began from (None: it began from nothing),
    `asked` what that prediction was asked, or else what the label config asks. `lead_time_s` is Label Studio's own
    count, idle time included; `capped_lead_time_s` is at most 600 s + 60 s a changed region. `unread` counts regions
    that are no readable masks. `at` is the annotation's own time of change. `image_reference` is what the task's data
    said of its image; the store adds what it knows of it.
    """

    annotation_id: int
    task_id: int | None
    state: ReviewState
    corrections: tuple[Correction, ...] = ()
    at: datetime | None = None
    annotator_id: int | None = None
    lead_time_s: float | None = None
    capped_lead_time_s: float | None = None
    ground_truth: bool = False
    prediction_id: int | None = None
    model_version: str | None = None
    asked: tuple[AskedPrompt, ...] = ()
    unread: int = 0
    image_reference: str | None = None


@dataclass(frozen=True)
class CorrectionRecord:
    """A stored correction; its masks are read with `Store.read_mask(digest)`. Fields as in Correction and Review.

    `excluded` says why it is to be left out, if it is. `image_sha256` as in ReviewRecord.
    """

    id: int
    event_id: int
    project_id: int
    annotation_id: int
    task_id: int
    at: datetime
    annotator_id: int | None
    lead_time_s: float | None
    capped_lead_time_s: float | None
    ground_truth: bool
    region_id: str
    region_type: str
    label: str | None
    kind: CorrectionKind
    mask_before: str | None
    mask_after: str | None
    iou: float
    boundary_iou: float
    changed_pixels: int
    predicted_region_id: str | None
    label_before: str | None
    prompt: str | None
    score: float | None
    model_version: str | None
    interactive: bool
    vertices_before: int | None
    vertices_after: int | None
    image_sha256: str | None
    excluded: str | None


@dataclass(frozen=True)
class ReviewRecord:
    """A stored annotation with its corrections, fields as in Review; `at` falls back to when its event came.

    `image_sha256` is of the file of the image that it was made on, None where nobody fetched that. Annotations that
    were stored before these things were remembered have no `image_reference` either.
    `excluded_labels`: those of its regions that are excluded, predicted or submitted, whether or not these are here.
    """

    id: int
    event_id: int
    project: Project
    annotation_id: int
    task_id: int | None
    state: ReviewState
    at: datetime
    annotator_id: int | None
    lead_time_s: float | None
    capped_lead_time_s: float | None
    ground_truth: bool
    prediction_id: int | None
    model_version: str | None
    asked: tuple[AskedPrompt, ...]
    unread: int
    image_reference: str | None
    image_sha256: str | None
    excluded: str | None
    excluded_labels: frozenset[str | None]
    corrections: tuple[CorrectionRecord, ...]

    @property
    def is_untouched(self) -> bool:
        """Whether nobody opened it: made of a prediction in bulk, unchanged, and no star says that it is right."""
        return (
            not self.lead_time_s and not self.ground_truth and all(item.kind == "accepted" for item in self.corrections)
        )


@dataclass(frozen=True)
class CorrectionFilter:
    """Which corrections are meant; None means any. `until` is exclusive.

    `project_id` is Label Studio's number, which another Label Studio (`label_studio_url`) may have too. `model_version`
    is that of a predicted region, `began_from` that of the prediction that an annotation began from: with what was
    added to it.
    """

    project_id: int | None = None
    label_studio_url: str | None = None
    label: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    model_version: str | None = None
    began_from: str | None = None
    annotator_id: int | None = None
    task_id: int | None = None
    annotation_id: int | None = None
    with_history: bool = False
    with_excluded: bool = False


@dataclass(frozen=True)
class Exclusion:
    """A task, annotation, annotator or region (annotation/region id) that no data set or statistic may use."""

    scope: ExclusionScope
    value: str
    reason: str
    erased: bool = False


@dataclass(frozen=True)
class Erasure:
    """What was erased: `annotations` as "project/annotation", `images` by the SHA-256 of their files.

    `data_sets` counts the copies of manifests that held any of it.
    """

    annotations: frozenset[str]
    predictions: int
    images: tuple[str, ...]
    data_sets: int


@dataclass(frozen=True)
class SyncTurn:
    """Leave to read a project's annotations from Label Studio: those of tasks changed after `since` (None: never read).

    `full_synced_at`: when all tasks were last looked at; `full_after`: the task up to which an open pass over them got.
    """

    since: datetime | None
    full_synced_at: datetime | None
    full_after: int | None


@dataclass(frozen=True)
class TaskImage:
    """A task's image. `reference` is what the task's data says, `sha256` of its file, None until it was fetched."""

    task_id: int
    reference: str
    sha256: str | None
    width: int | None
    height: int | None


@dataclass(frozen=True)
class ImageSplit:
    """An image's side ("train", "holdout", "quarantine") and the group of images that look nearly the same."""

    sha256: str
    perceptual_hash: str
    group: str
    side: str


@dataclass(frozen=True)
class DataSetRecord:
    """A data set that was made. `digest` is its manifest's, `lineage` says of what, and what was left out and why."""

    digest: str
    parent_digest: str | None
    lineage: dict[str, Any]
    created_at: datetime
