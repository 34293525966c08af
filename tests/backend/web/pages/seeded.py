"""A store as a team has it, in small: drawn microscope pictures, predictions, corrections of all kinds."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from argenseg_model.scenes.microscope import draw_fluorescence, draw_tissue
from labeling.label_studio.messages import Task
from labeling.predictions import PredictedMask, build_prediction
from labeling.regions.cropped_mask import CroppedMask
from labeling.settings import Settings
from labeling.store import Annotation, Correction, PredictionRequest, Project, Store
from worker.projects.requests import ProjectRequests

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image">'
    '<Label value="Nucleus" prompt="all nuclei" background="#00c8ff"/>'
    '<Label value="Large nucleus" prompt="large nuclei" background="#ffb000"/></BrushLabels></View>'
)
SIZE = 320
BEGAN = datetime(2026, 11, 28, 9, tzinfo=UTC)
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class DrawnTask:
    """A task with its picture as a data: URL, and each nucleus of it."""

    task: Task
    nuclei: tuple[NDArray[np.bool_], ...]


@cache
def draw_task(number: int) -> DrawnTask:
    """The same one for the same number."""
    draw = draw_tissue if number % 3 == 0 else draw_fluorescence
    picture = draw(np.random.default_rng(number), SIZE, SIZE, diameter=40)
    file = io.BytesIO()
    Image.fromarray(picture.image).save(file, "PNG")
    count, numbered = cv2.connectedComponents(picture.nuclei.astype(np.uint8))
    nuclei = tuple(numbered == each for each in range(1, count) if (numbered == each).sum() > 60)
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return DrawnTask(Task(id=number, data={"image": url}), nuclei)


def seed(
    settings: Settings, store: Store, *, tasks: int = 12, project: int = 3, title: str = "Nuclei, plate 7"
) -> Project:
    """A project in which two tasks of `tasks` failed, three are under way, and the others were annotated."""
    requests = ProjectRequests(settings, store, project, CONFIG)
    store.projects.describe(requests.project, title, tasks + 3)
    drawn = [draw_task(100 * project + number) for number in range(tasks)]
    rows = list(requests.request_all([each.task for each in drawn]))
    for place, (each, row) in enumerate(zip(drawn, rows, strict=True)):
        if place in (1, 2):
            store.predictions.fail(row.id, "The image could not be fetched: its server answered 404 (Not Found).")
        elif place < 5 and place > 2:
            continue
        else:
            predict(store, row, each)
    store.projects.upsert(requests.project.label_studio_url, project, CONFIG, requests.model_version)
    annotations = [
        annotate(row, each, place) for place, (each, row) in enumerate(zip(drawn, rows, strict=True)) if place > 5
    ]
    store.annotations.save(store.events.record("ANNOTATION_CREATED", {}), requests.project, annotations)
    found = store.projects.find(project)
    assert found is not None
    return found


def predict(store: Store, row: PredictionRequest, drawn: DrawnTask) -> None:
    """Predicted a little too large, and sent."""
    store.requests.begin(row.id)
    item, large = row.plan.items[0], row.plan.items[-1]
    masks = []
    for place, nucleus in enumerate(drawn.nuclei):
        asked = large if nucleus.sum() > 900 else item
        shape = CroppedMask.of(_grown(nucleus) if place % 3 else nucleus)
        score = 0.55 + 0.44 * ((7 * place + row.task_id) % 10) / 10
        masks.append(PredictedMask(asked.label, asked.prompt, "mask", "image", "brushlabels", shape, score))
    store.predictions.finish(row.id, build_prediction(masks, row.model_version, SIZE, SIZE))
    store.predictions.mark_published(row.id, 1000 + row.id)


def annotate(row: PredictionRequest, drawn: DrawnTask, place: int) -> Annotation:
    """One region of each outcome, as far as there are nuclei."""
    return Annotation(
        5000 + row.id,
        row.task_id,
        "submitted",
        annotator_id=1 + place % 2,
        lead_time_s=40.0,
        capped_lead_time_s=40.0,
        model_version=row.model_version,
        image_reference=str(row.task_data["image"]),
        corrections=tuple(_corrections(row, drawn)),
        at=BEGAN + timedelta(minutes=7 * place),
    )


def _corrections(row: PredictionRequest, drawn: DrawnTask) -> Iterator[Correction]:
    for place, (kind, nucleus) in enumerate(
        zip(("accepted", "edited", "deleted", "added"), drawn.nuclei, strict=False)
    ):
        left, right = nucleus, _grown(nucleus)
        before = {"accepted": nucleus, "edited": right, "deleted": nucleus}.get(kind)
        after = {"accepted": nucleus, "edited": np.roll(left, 3, axis=1), "added": nucleus}.get(kind)
        both = before is not None and after is not None
        iou = float((before & after).sum() / (before | after).sum()) if both else 0.0
        yield Correction(
            region_id=f"r{row.id}-{place}",
            region_type="brushlabels",
            label=None if after is None else "Nucleus",
            label_before=None if before is None else "Nucleus",
            kind=kind,  # type: ignore[arg-type]
            iou=iou,
            boundary_iou=iou,
            changed_pixels=int((before ^ after).sum()) if both else int(nucleus.sum()),
            prompt=None if before is None else "all nuclei",
            score=None if before is None else 0.8,
            model_version=None if before is None else row.model_version,
            mask_before=None if before is None else CroppedMask.of(before),
            mask_after=None if after is None else CroppedMask.of(after),
        )


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return cv2.dilate(mask.astype(np.uint8), _SQUARE, iterations=3).astype(bool)
