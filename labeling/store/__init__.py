"""What was wanted, predicted and corrected: rows in a database, masks in a blob folder."""

from labeling.store.records import (
    Correction,
    CorrectionRecord,
    EventRecord,
    PredictedRegionRecord,
    Project,
    TaskWish,
    WantedPrediction,
)
from labeling.store.store import Store

__all__ = [
    "Correction",
    "CorrectionRecord",
    "EventRecord",
    "PredictedRegionRecord",
    "Project",
    "Store",
    "TaskWish",
    "WantedPrediction",
]
