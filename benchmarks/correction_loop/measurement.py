"""What a model is worth on images that no part of the loop has seen, with intervals (bootstrap over images).

On histology: mean IoU of the mask, F1 of the objects at IoU 0.5, and what it would cost the annotator to correct the
regions that the project would show: share accepted unedited, pixels to change. Beside it what must not be forgotten:
fluorescence images and drawn scenes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from argenseg_model import ARGenSeg
from argenseg_model.instances import label_instances
from argenseg_model.metrics import iou, match_instances
from argenseg_model.scenes import scene_sample
from benchmarks.correction_loop.annotator import correct
from benchmarks.correction_loop.images import LEARNT, TruthImage, list_images
from labeling.answers import build_answer
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from recipes.starter.evaluate import ABSENT_PROMPTS, SCENE_SEED

MIN_AREA = 12  # px: smaller specks are no nuclei
LABEL, PROMPT = "Nucleus", "all nuclei"
LABEL_CONFIG = (
    '<View><Image name="image" value="$image" zoom="true"/>'
    f'<BrushLabels name="mask" toName="image" instances="true" min_area="{MIN_AREA}">'
    f'<Label value="{LABEL}" prompt="{PROMPT}" background="#00c8ff"/></BrushLabels></View>'
)
TAG = {"from_name": "mask", "to_name": "image", "kind": "brushlabels", "label": LABEL}
SCENES = 200
FLUORESCENCE_IMAGES = 32  # of the 96, evenly chosen: a model is measured after each round
CONFIDENCE = 0.95
_DRAWS = 2000

Figures = dict[str, Any]
Rows = Sequence[dict[str, float]]


@dataclass(frozen=True)
class _Answer:
    """What stands in for a model's answer: the baseline's mask."""

    mask: NDArray[np.bool_]
    score: float = 1.0


def _mean_of(name: str) -> Callable[[Rows], float]:
    return lambda rows: float(np.mean([row[name] for row in rows]))


def _ratio(over: str, *under: str) -> Callable[[Rows], float]:
    return lambda rows: sum(row[over] for row in rows) / max(1.0, sum(row[name] for row in rows for name in under))


def _f1(rows: Rows) -> float:
    return 2 * sum(row["matched"] for row in rows) / max(1.0, sum(row["found"] + row["nuclei"] for row in rows))


FIGURES: Final[dict[str, Callable[[Rows], float]]] = {
    "iou": _mean_of("iou"),
    "f1": _f1,
    "accepted": _ratio("accepted", "accepted", "edited", "deleted"),
    "kept": _ratio("accepted", "nuclei"),
    "changed": _ratio("changed_pixels", "nuclei_pixels"),
}
"""`accepted`: of the predicted regions; `kept`: of all nuclei; `changed`: pixels to change, over those of nuclei."""


def measure(model_folder: str, data: Path, device: str, threads: int) -> Figures:
    """Figures of a model: each a value with its interval, and the rows that they are made of."""
    torch.set_num_threads(threads)
    model = ARGenSeg.from_pretrained(model_folder, device=device)
    histology = [
        measure_image(image, model.segment(image.pixels(), [PROMPT])[0][0])
        for image in list_images(data, "test", LEARNT)
    ]
    absent = [
        any_drawn
        for image in list_images(data, "test", LEARNT)
        for any_drawn in (answer.mask.any() for answer in model.segment(image.pixels(), ABSENT_PROMPTS)[0])
    ]
    fluorescence = list_images(data, "test", "fluorescence")
    chosen = [fluorescence[round(at)] for at in np.linspace(0, len(fluorescence) - 1, FLUORESCENCE_IMAGES)]
    other = [
        {"iou": iou(model.segment(image.pixels(), [PROMPT])[0][0].mask, image.instances() > 0)} for image in chosen
    ]
    return summarise(histology) | {
        "absent": float(np.mean(absent)),
        "fluorescence": interval(other, FIGURES["iou"]),
        "scenes": interval(_measure_scenes(model), FIGURES["iou"]),
        "rows": histology,
    }


def measure_otsu(data: Path) -> Figures:
    """The same figures of histology for an inverted Otsu threshold, which needs no model."""
    rows = []
    for image in list_images(data, "test", LEARNT):
        grey = cv2.cvtColor(image.pixels(), cv2.COLOR_RGB2GRAY)
        mask = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)[1] > 0
        rows.append(measure_image(image, _Answer(mask)))
    return summarise(rows) | {"rows": rows}


def measure_image(image: TruthImage, answer: Any) -> dict[str, float]:
    """One image's row: the mask against the truth, and the regions that the product would make of it, corrected."""
    truth = image.instances()
    config = parse_label_config(LABEL_CONFIG)
    regions = build_answer(plan_prompts(config, {}), config, {PROMPT: answer}, "measured").result
    _, effort = correct(list(regions), truth, TAG, np.random.default_rng(0))
    found = match_instances(label_instances(answer.mask, MIN_AREA), truth)
    own = {"iou": iou(answer.mask, truth > 0), "matched": found.matched, "found": found.predicted}
    return own | {"nuclei": found.actual} | effort.to_json()


def summarise(rows: Rows) -> Figures:
    """All figures with their intervals."""
    return {name: interval(rows, figure) for name, figure in FIGURES.items()}


def interval(rows: Rows, figure: Callable[[Rows], float]) -> list[float]:
    """[value, low, high]: the percentile bootstrap over images, the same images in every round."""
    drawn = np.random.default_rng(0).integers(0, len(rows), (_DRAWS, len(rows)))
    values = [figure([rows[index] for index in some]) for some in drawn]
    tail = (1 - CONFIDENCE) / 2
    return [round(float(value), 4) for value in (figure(rows), *np.quantile(values, [tail, 1 - tail]))]


def _measure_scenes(model: ARGenSeg) -> list[dict[str, float]]:
    rng = np.random.default_rng(SCENE_SEED)
    rows = []
    for _ in range(SCENES):
        sample = scene_sample(rng, model.config.image_size, level=3)
        if sample.mask.any():
            rows.append({"iou": iou(model.segment(sample.image, [sample.prompt])[0][0].mask, sample.mask)})
    return rows
