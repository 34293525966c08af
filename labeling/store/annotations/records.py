"""What the store takes and hands out about annotations and corrections: frozen, detached from any session."""

from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Literal

from labeling.regions.cropped_mask import CroppedMask
from labeling.store.projects import Project

CorrectionKind = Literal["accepted", "edited", "deleted", "added"]
AnnotationState = Literal["submitted", "skipped", "deleted"]


@dataclass(frozen=True)
class AskedPrompt:
    """A prompt that was asked for a label; a label may have several."""

    label: str | None
    prompt: str


@dataclass(frozen=True)
class CorrectedRegion:
    """What an annotator made of one region, but for its masks.

    `iou` and `boundary_iou` are between the two masks (0 for deleted and added ones). `predicted_region_id` differs
    from `region_id` where the annotator deleted a region and drew it anew. `vertices_before` and `vertices_after` are
    those of polygons and vectors. `prompt`, `score` and `model_version` are the predicted region's.
    """

    region_id: str
    region_type: str
    label: str | None
    kind: CorrectionKind
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


@dataclass(frozen=True, kw_only=True)
class Correction(CorrectedRegion):
    """A corrected region with its masks; None where there was none on that side."""

    mask_before: CroppedMask | None = None
    mask_after: CroppedMask | None = None


@dataclass(frozen=True, kw_only=True)
class CorrectionRecord(CorrectedRegion):
    """A stored correction; its masks are read with `store.corrections.read_mask(digest)`.

    `excluded` says why it is to be left out, if it is. The other fields are its annotation's, as in AnnotationRecord.
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
    mask_before: str | None
    mask_after: str | None
    image_sha256: str | None
    excluded: str | None


@dataclass(frozen=True)
class AnnotationFields:
    """What one event reported of one annotation, but for when and its corrections.

    `prediction_id` and `model_version` are those of our prediction that it began from (None: it began from nothing),
    `asked` what that prediction was asked, or else what the label config asks. `lead_time_s` is Label Studio's own
    count, idle time included; `capped_lead_time_s` is at most 600 s + 60 s a changed region. `unread` counts regions
    that are no readable masks. `image_reference` is what the task's data said of its image.
    """

    annotation_id: int
    task_id: int | None
    state: AnnotationState
    _: KW_ONLY
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
class Annotation(AnnotationFields):
    """An annotation to be stored; `skipped` and `deleted` ones have no corrections.

    `at` is the annotation's own time of change. The store adds what it knows of the image.
    """

    corrections: tuple[Correction, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class AnnotationRecord(AnnotationFields):
    """A stored annotation with its corrections; `at` falls back to when its event came.

    `image_sha256` is of the file of the image that it was made on, None where nobody fetched that. Annotations
    that were stored before these things were remembered have no `image_reference` either.
    `excluded_labels`: those of its regions that are excluded, predicted or submitted, whether or not these are here.
    """

    id: int
    event_id: int
    project: Project
    at: datetime
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
