"""What was requested, predicted and corrected: rows in a database, masks in a blob folder."""

from labeling.store.annotation_syncs import AnnotationSyncStore, SyncTurn
from labeling.store.annotations.corrections import CorrectionStore
from labeling.store.annotations.records import (
    Annotation,
    AnnotationRecord,
    AnnotationState,
    AskedPrompt,
    CorrectedRegion,
    Correction,
    CorrectionFilter,
    CorrectionKind,
    CorrectionRecord,
)
from labeling.store.annotations.states import AnnotationStore
from labeling.store.datasets import DataSetRecord, DataSetStore, ImageSplit
from labeling.store.erasure import Erased, Erasure, ErasureScope, ErasureStore
from labeling.store.events import EventFailure, EventRecord, EventStore
from labeling.store.exclusions import Exclusion, ExclusionScope, ExclusionStore
from labeling.store.finetunes import FinetuneRun, FinetuneSchedule, FinetuneStatus, FinetuneStore
from labeling.store.gallery import (
    GalleryStore,
    PredictionFilter,
    ShownCorrection,
    ShownCorrectionFilter,
    ShownLabel,
    ShownPrediction,
)
from labeling.store.models import ModelState, ModelStore, ModelVersion
from labeling.store.predictions.progress import ProgressStore
from labeling.store.predictions.records import (
    AnsweredPrediction,
    AnsweredTask,
    Delay,
    Delivered,
    Delivery,
    Pace,
    PostponedPrediction,
    PredictedRegionRecord,
    PredictionRequest,
    PredictionStatus,
    SentPrediction,
    TaskRequest,
    UnpredictedTask,
)
from labeling.store.predictions.requests import RequestStore
from labeling.store.predictions.results import PredictionStore
from labeling.store.project_runs import ProjectRun, ProjectRunStore, RunOptions, RunOutcome
from labeling.store.projects import Project, ProjectStore
from labeling.store.store import Store
from labeling.store.task_images import TaskImage, TaskImageStore

__all__ = [
    "Annotation",
    "AnnotationRecord",
    "AnnotationState",
    "AnnotationStore",
    "AnnotationSyncStore",
    "AnsweredPrediction",
    "AnsweredTask",
    "AskedPrompt",
    "CorrectedRegion",
    "Correction",
    "CorrectionFilter",
    "CorrectionKind",
    "CorrectionRecord",
    "CorrectionStore",
    "DataSetRecord",
    "DataSetStore",
    "Delay",
    "Delivered",
    "Delivery",
    "Erased",
    "Erasure",
    "ErasureScope",
    "ErasureStore",
    "EventFailure",
    "EventRecord",
    "EventStore",
    "Exclusion",
    "ExclusionScope",
    "ExclusionStore",
    "FinetuneRun",
    "FinetuneSchedule",
    "FinetuneStatus",
    "FinetuneStore",
    "GalleryStore",
    "ImageSplit",
    "ModelState",
    "ModelStore",
    "ModelVersion",
    "Pace",
    "PostponedPrediction",
    "PredictedRegionRecord",
    "PredictionFilter",
    "PredictionRequest",
    "PredictionStatus",
    "PredictionStore",
    "ProgressStore",
    "Project",
    "ProjectRun",
    "ProjectRunStore",
    "ProjectStore",
    "RequestStore",
    "RunOptions",
    "RunOutcome",
    "SentPrediction",
    "ShownCorrection",
    "ShownCorrectionFilter",
    "ShownLabel",
    "ShownPrediction",
    "Store",
    "SyncTurn",
    "TaskImage",
    "TaskImageStore",
    "TaskRequest",
    "UnpredictedTask",
]
