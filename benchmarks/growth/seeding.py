"""Fills a store with what months of work leave in it, by the tables: what it takes is not measured."""

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import String, cast, insert, select, update

from labeling.regions import brush_rle, one_bit_png
from labeling.regions.cropped_mask import CroppedMask
from labeling.store import Project, Store
from labeling.store.annotation_syncs import SyncRow
from labeling.store.annotations.tables import AnnotationRow, CorrectionRow
from labeling.store.base import Base
from labeling.store.events import EventRow
from labeling.store.predictions.tables import PredictedRegionRow, PredictionRow
from labeling.store.task_images import TaskImageRow

PROJECT = 5
SIDE = 64  # px of an image
SEEDED_AT = datetime(2026, 1, 5, tzinfo=UTC)
LABEL_CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="tag" toName="image">'
    '<Label value="nucleus" prompt="every nucleus"/></BrushLabels></View>'
)
_KINDS = ("accepted", "edited", "deleted", "added")
_ROWS_AT_A_TIME = 5000
_A_WEEK = 5000  # annotations


def compute_all(store: Store) -> None:
    """Let every requested prediction have a result with one region, and be `ready` since long ago."""
    result = [{"id": "r0", "type": "brushlabels", "from_name": "tag", "to_name": "image", "original_width": SIDE}]
    result[0] |= {"original_height": SIDE, "image_rotation": 0, "score": 0.8}
    result[0]["value"] = {"format": "rle", "rle": brush_rle.encode(_square()), "brushlabels": ["nucleus"]}
    ready = update(PredictionRow).values(status="ready", result=result, score=0.8, updated_at=SEEDED_AT)
    with store.database.writing() as session:
        session.execute(ready.values(begun_at=SEEDED_AT, computed_at=SEEDED_AT + timedelta(seconds=1)))


def publish_all(store: Store) -> None:
    """Let Label Studio hold every prediction; one in ten failed, each for a reason of its own."""
    number = PredictionRow.id
    with store.database.writing() as session:
        session.execute(update(PredictionRow).values(status="published", label_studio_prediction_id=number, error=None))
        failed = update(PredictionRow).where(number % 10 == 0)
        session.execute(failed.values(status="failed", error="It failed for its own reason: " + cast(number, String)))


def annotate(store: Store, project: Project, tasks: int, corrections: int) -> None:
    """`corrections` in the annotations of `tasks` tasks, one each, with images and masks that all differ."""
    each = corrections // tasks
    images = _write_blobs(store, tasks, _image)
    masks = _write_blobs(store, tasks, _mask)
    with store.database.writing() as session:
        version = session.scalar(select(PredictionRow.model_version).limit(1))

    def rows(make: Callable[[int], dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
        return (make(number) for number in range(1, count + 1))

    def at(task: int) -> datetime:
        return SEEDED_AT + timedelta(weeks=task // _A_WEEK, minutes=task % _A_WEEK)

    def event(task: int) -> dict[str, Any]:
        annotation = {"id": task, "task": task, "result": [{"id": f"r{number}"} for number in range(each)]}
        payload = {"action": "ANNOTATION_CREATED", "annotation": annotation, "project": {"id": PROJECT}}
        known = {"action": "ANNOTATION_CREATED", "label_studio_url": project.label_studio_url, "attempts": 1}
        return known | {"id": task, "payload": payload, "received_at": at(task), "processed_at": at(task)}

    def annotation(task: int) -> dict[str, Any]:
        facts = {"id": task, "event_id": task, "project_row_id": project.id, "annotation_id": task, "task_id": task}
        facts |= {"state": "submitted", "is_current": True, "annotation_at": at(task), "annotator_id": task % 7}
        facts |= {"lead_time_s": 10.0 + task % 50, "capped_lead_time_s": 10.0 + task % 50, "ground_truth": False}
        facts |= {"prediction_id": task, "model_version": version, "unread": 0}
        facts |= {"asked": [{"label": "nucleus", "prompt": "every nucleus"}]}
        return facts | {"image_reference": f"/data/{task}.png", "image_sha256": images[task - 1]}

    def correction(number: int) -> dict[str, Any]:
        task, kind = (number - 1) // each + 1, _KINDS[number % 4]
        mask = masks[task - 1]
        facts = {"id": number, "annotation_row_id": task, "region_id": f"r{number % each}", "kind": kind}
        facts |= {"region_type": "brush", "label": "nucleus", "iou": 1.0 if kind == "accepted" else number % 97 / 97}
        facts |= {"boundary_iou": 0.5, "changed_pixels": 9, "interactive": False, "model_version": version}
        is_predicted = kind != "added"
        facts |= {"prompt": "every nucleus" if is_predicted else None, "score": 0.8 if is_predicted else None}
        facts |= {"label_before": "nucleus" if is_predicted else None}
        return facts | {
            "mask_before": mask if is_predicted else None,
            "mask_after": None if kind == "deleted" else mask,
        }

    def image(task: int) -> dict[str, Any]:
        facts = {"id": task, "project_row_id": project.id, "task_id": task, "reference": f"/data/{task}.png"}
        return facts | {"sha256": images[task - 1], "width": SIDE, "height": SIDE, "kept": True}

    def region(task: int) -> dict[str, Any]:
        facts = {"id": task, "prediction_id": task, "region_id": "r0", "label": "nucleus", "prompt": "every nucleus"}
        return facts | {"score": 0.8, "mask": masks[task - 1]}

    tables: list[tuple[type[Base], Callable[[int], dict[str, Any]], int]] = [
        (PredictedRegionRow, region, tasks),
        (TaskImageRow, image, tasks),
        (EventRow, event, tasks),
        (AnnotationRow, annotation, tasks),
        (CorrectionRow, correction, each * tasks),
    ]
    for table, make, count in tables:
        waiting = rows(make, count)
        while some := list(islice(waiting, _ROWS_AT_A_TIME)):
            with store.database.writing() as session:
                session.execute(insert(table.__table__), some)
    long_ago = datetime.now(UTC) - timedelta(days=2)
    synced = {"synced_until": long_ago, "synced_at": long_ago, "full_synced_at": long_ago}
    with store.database.writing() as session:
        session.execute(insert(SyncRow.__table__), [{"project_row_id": project.id, **synced}])


def _write_blobs(store: Store, count: int, make: Callable[[int], bytes]) -> list[str]:
    """As `BlobStore.put`, but for the fsync of each."""
    root = Path(store.blobs.root)

    def write(number: int) -> str:
        content = make(number)
        digest = hashlib.sha256(content).hexdigest()
        path = root / digest[:2] / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return digest

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(write, range(count)))


def _image(number: int) -> bytes:
    buffer = io.BytesIO()
    coarse = np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)
    Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _mask(number: int) -> bytes:
    mask = _square()
    mask[10:14, 10:42] = np.unpackbits(np.frombuffer(number.to_bytes(16, "big"), np.uint8)).reshape(4, 32) > 0
    return one_bit_png.encode(CroppedMask.of(mask))


def _square() -> NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[8:40, 8:40] = True
    return mask
