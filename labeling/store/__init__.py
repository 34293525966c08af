"""What was wanted, predicted and corrected: rows in a database, masks in a blob folder."""

from labeling.store.correction_records import (
    AskedPrompt,
    Correction,
    CorrectionFilter,
    CorrectionRecord,
    EventRecord,
    Exclusion,
    Review,
    ReviewRecord,
    TaskImage,
)
from labeling.store.records import (
    PredictedRegionRecord,
    Project,
    TaskWish,
    WantedPrediction,
)
from labeling.store.store import Store

__all__ = [
    "AskedPrompt",
    "Correction",
    "CorrectionFilter",
    "CorrectionRecord",
    "EventRecord",
    "Exclusion",
    "PredictedRegionRecord",
    "Project",
    "Review",
    "ReviewRecord",
    "Store",
    "TaskImage",
    "TaskWish",
    "WantedPrediction",
]
