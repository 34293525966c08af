"""What was requested, predicted and corrected: rows in a database, masks in a blob folder."""

from labeling.store.actions import Action, ActionName, ActionStore
from labeling.store.annotation_syncs import AnnotationSyncStore, SyncTurn
from labeling.store.annotations.corrections import CorrectionStore
from labeling.store.annotations.outcomes import AnnotationOutcome, OutcomeStore, RegionOutcome
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
from labeling.store.model_versions import ModelState, ModelStore, ModelVersion
from labeling.store.predictions.progress import ProgressStore
from labeling.store.predictions.records import (
    SENT_STATUSES,
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
from labeling.store.trials import PromptTrial, TrialMasks, TrialStatus, TrialStore, TrialTask

__all__ = [
    "SENT_STATUSES",
    "Action",
    "ActionName",
    "ActionStore",
    "Annotation",
    "AnnotationOutcome",
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
    "OutcomeStore",
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
    "PromptTrial",
    "RegionOutcome",
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
    "TrialMasks",
    "TrialStatus",
    "TrialStore",
    "TrialTask",
    "UnpredictedTask",
]
