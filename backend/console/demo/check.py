"""`argenseg demo --check`: are all masks there, editable, near the truth? Do corrections come back?"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from argenseg_model.metrics import iou
from backend.console.demo.sample_project import SampleProject, SampleTask, is_holdout
from labeling.predictions import Prediction, validate_prediction
from labeling.prompts.label_config import parse_label_config
from labeling.regions import brush_rle
from labeling.regions.kinds import region_mask
from labeling.store import CorrectionFilter, CorrectionRecord, Store

MIN_MEAN_IOU = 0.8  # the shipped starter reaches 0.917 on these pictures
WEBHOOK_WAIT_S = 30.0

Corrections = Callable[[], list[CorrectionRecord]]


class CheckFailed(Exception):
    """What the demo promises is not so; the message says what was found instead."""


def check_demo(project: SampleProject, model_version: str, corrections: Corrections, console: Console) -> None:
    """Print each image's IoU, then correct one mask through the API and wait for its correction; else CheckFailed."""
    check_masks(project, model_version, console)
    correction = check_correction(project, model_version, corrections)
    console.print(f"A corrected mask came back by webhook and is stored: {correction.kind}, IoU {correction.iou:.3f}.")


def check_masks(project: SampleProject, model_version: str, console: Console) -> None:
    """Every sample task has editable brush regions of `model_version`, near the truth on average where that is known;
    else CheckFailed.
    """
    table = Table("image", "regions", "IoU", "score", title="Masks of the sample project against the known truth")
    values = []
    config = parse_label_config(project.sample.label_config)
    tasks = project.tasks()
    if not tasks:
        raise CheckFailed("The sample project holds no images.")
    for task in tasks:
        prediction = _prediction(project, task, model_version)
        regions = prediction["result"]
        validate_prediction(Prediction(regions, prediction["score"], model_version), config)
        if any(region.get("readonly") for region in regions):
            raise CheckFailed(f"A region of image {task.image_id} cannot be edited.")
        shown = "not known"
        if (truth := project.sample.truth(task.image_id)) is not None:
            values.append(iou(_union(regions, truth.shape), truth))
            shown = f"{values[-1]:.3f}"
        table.add_row(task.image_id, str(len(regions)), shown, f"{prediction['score'] or 0.0:.3f}")
    mean = float(np.mean(values))
    table.add_section()
    table.add_row("mean", "", f"{mean:.3f}", "")
    console.print(table)
    if mean < MIN_MEAN_IOU:
        raise CheckFailed(f"The masks overlap the truth too little: mean IoU {mean:.3f}, wanted {MIN_MEAN_IOU}.")


def check_correction(project: SampleProject, model_version: str, corrections: Corrections) -> CorrectionRecord:
    """Erase the upper half of one mask, submit it as an annotator would, and wait until its correction is stored."""
    task = project.tasks()[0]
    prediction = _prediction(project, task, model_version)
    region = prediction["result"][0]
    erased = {**erase_upper_half(region), "origin": "prediction-changed"}
    result = [erased, *prediction["result"][1:]]
    body = {"result": result, "lead_time": 4.0, "parent_prediction": prediction["id"]}
    annotation_id = project.annotate(task.id, body)
    deadline = time.monotonic() + WEBHOOK_WAIT_S
    while time.monotonic() < deadline:
        for correction in corrections():
            if correction.annotation_id == annotation_id and correction.region_id == region["id"]:
                if correction.kind != "edited" or not 0.0 < correction.iou < 1.0:
                    raise CheckFailed(f"An erased mask was stored as {correction.kind}, IoU {correction.iou:.3f}.")
                return correction
        time.sleep(0.2)
    raise CheckFailed(f"No correction of annotation {annotation_id} was stored within {WEBHOOK_WAIT_S:.0f} s.")


def check_training_project(project: SampleProject, store: Store, min_images: int, console: Console) -> None:
    """The holdout that was corrected beforehand came back by webhook, enough for the gate; else CheckFailed."""
    wanted = CorrectionFilter(project_id=project.id)
    tasks = {task.id for task in project.tasks() if is_holdout(task.image_id)}
    deadline = time.monotonic() + WEBHOOK_WAIT_S
    while time.monotonic() < deadline:
        corrected = {annotation.task_id for annotation in store.annotations.find(wanted) if annotation.corrections}
        if corrected >= tasks and len(tasks) >= min_images:
            console.print(
                f"The training project has {len(tasks)} corrected images to measure on; it needs {min_images}."
            )
            return
        time.sleep(0.2)
    raise CheckFailed(
        f"Of {len(tasks)} images of the training project's holdout {len(corrected & tasks)} are stored as corrected"
        f" after {WEBHOOK_WAIT_S:.0f} s, and the gate needs {min_images}."
    )


def erase_upper_half(region: dict[str, Any]) -> dict[str, Any]:
    """A brush region without the upper half of its mask's pixels: what an annotator's eraser would leave."""
    mask = region_mask(region)
    drawn = np.flatnonzero(mask)
    mask.flat[drawn[: len(drawn) // 2]] = False
    return {**region, "value": {**region["value"], "rle": brush_rle.encode(mask)}}


def _prediction(project: SampleProject, task: SampleTask, model_version: str) -> dict[str, Any]:
    """The task's one prediction of `model_version`, with a region at least; else CheckFailed."""
    found = [each for each in project.task(task.id)["predictions"] if each["model_version"] == model_version]
    if len(found) != 1:
        raise CheckFailed(f"Task {task.id} holds {len(found)} predictions of {model_version!r}, wanted one.")
    prediction: dict[str, Any] = found[0]
    if not prediction["result"]:
        raise CheckFailed(f"Image {task.image_id} has no mask that could be edited.")
    return prediction


def _union(regions: list[dict[str, Any]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    union = np.zeros(shape, dtype=bool)
    for region in regions:
        union |= region_mask(region)
    return union
