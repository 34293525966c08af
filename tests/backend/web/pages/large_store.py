"""A store as large as a team's after a season, filled in seconds: what pages are measured on.

The rows are what events would have left, but for masks: one stands for all.
"""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import insert

from labeling.store import Project, Store
from labeling.store.annotations.tables import AnnotationRow, CorrectionRow
from labeling.store.events import EventRow
from labeling.store.predictions.tables import PredictionRow

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
    '<Label value="nucleus" prompt="every nucleus"/><Label value="gland" prompt="every gland; glands"/>'
    '<Label value="stroma" prompt="stroma"/></BrushLabels></View>'
)
PROMPTS = (("nucleus", "every nucleus"), ("gland", "every gland"), ("gland", "glands"), ("stroma", "stroma"))
VERSIONS = ("starter-3 · a1b2c3", "starter-3.1 · d4e5f6", "starter-3.2 · 0718a9")
WEEKS = 26
NEWEST = datetime(2026, 11, 27, 15, tzinfo=UTC)


def fill(store: Store, *, tasks: int = 5000, regions: int = 10, url: str = "http://label-studio.test") -> Project:
    """Project 1 with `tasks` submitted tasks of so many corrected regions each, over half a year of three versions."""
    project = store.projects.upsert(url, 1, CONFIG)
    drawn = random.Random(1)
    mask = store.blobs.put_mask(np.pad(np.ones((8, 8), np.bool_), 4))
    predictions, events, annotations, corrections = [], [], [], []
    for number in range(1, tasks + 1):
        at = NEWEST - timedelta(weeks=WEEKS * (1 - number / tasks))
        version = VERSIONS[3 * (number - 1) // tasks]
        is_blind = number % 20 == 0
        events.append({"id": number, "action": "ANNOTATION_CREATED", "payload": {}, "received_at": at,
                       "processed_at": at, "attempts": 1})  # fmt: skip
        predictions.append({"id": number, "project_row_id": project.id, "task_id": number, "task_data": {}, "plan": [],
                            "plan_digest": "0", "model_version": version, "delivery": "push", "interactive": False,
                            "status": "published", "score": 0.8, "created_at": at, "updated_at": at,
                            "attempts": 1})  # fmt: skip
        seconds = drawn.gauss(90, 20) if is_blind else drawn.gauss(60 - 10 * VERSIONS.index(version), 15)
        annotations.append({"id": number, "event_id": number, "project_row_id": project.id, "annotation_id": number,
                            "task_id": number, "state": "submitted", "is_current": True, "annotation_at": at,
                            "annotator_id": number % 7, "lead_time_s": max(seconds, 4), "ground_truth": False,
                            "capped_lead_time_s": max(seconds, 4), "unread": 0,
                            "prediction_id": None if is_blind else number,
                            "model_version": None if is_blind else version,
                            "asked": [{"label": label, "prompt": prompt} for label, prompt in PROMPTS]})  # fmt: skip
        corrections += [_region(drawn, number, each, version, mask, is_blind) for each in range(regions)]
    with store.database.writing() as session:
        for table, rows in ((EventRow, events), (PredictionRow, predictions), (AnnotationRow, annotations)):
            session.execute(insert(table), rows)
        session.execute(insert(CorrectionRow.__table__), corrections)  # type: ignore[arg-type]
    return project


def _region(drawn: random.Random, number: int, region: int, version: str, mask: str, is_blind: bool) -> dict[str, Any]:
    """One correction: the better, the newer the version is and the higher its score."""
    label, prompt = PROMPTS[region % len(PROMPTS)]
    score, luck = drawn.random(), drawn.random()
    good = 0.3 + 0.4 * score + 0.1 * VERSIONS.index(version)
    kind = "added" if is_blind or luck > 0.92 else "accepted" if luck < good else "edited" if luck < 0.85 else "deleted"
    is_added, overlap = kind == "added", min(0.99, max(0.2, drawn.gauss(0.78, 0.1)))
    return {
        "annotation_row_id": number, "region_id": f"r{region}", "region_type": "brushlabels", "label": label,
        "kind": kind, "iou": {"accepted": 1.0, "edited": overlap}.get(kind, 0.0),
        "boundary_iou": {"accepted": 1.0, "edited": overlap - 0.1}.get(kind, 0.0), "changed_pixels": 40,
        "predicted_region_id": None if is_added else f"r{region}", "label_before": None if is_added else label,
        "prompt": None if is_added else prompt, "score": None if is_added else score,
        "model_version": None if is_added else version, "interactive": False, "vertices_before": None,
        "vertices_after": None, "mask_before": None if is_added else mask,
        "mask_after": None if kind == "deleted" else mask,
    }  # fmt: skip
