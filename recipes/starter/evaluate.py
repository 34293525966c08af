"""Measure a starter on what it has not seen: held-out nuclei images and fresh scenes, beside a trivial baseline.

    python -m recipes.starter.evaluate --data DIR --model starter

Prints one JSON object. IoU is the mean over images (an empty truth that is found empty counts 1); "absent_empty" is the
share of prompts about something absent whose mask has not a single pixel.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from argenseg_model.metrics import iou
from argenseg_model.model import ARGenSeg
from argenseg_model.scenes import scene_sample
from recipes.starter.nuclei import NucleiTiles

PROMPT = "all nuclei"
ABSENT_PROMPTS = ("all red circles", "every car", "the dog")
SCENE_SEED = 2_026_11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv, images/, instances/")
    parser.add_argument("--model", default="starter", help="folder, Hub id or 'starter'")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=10_000, help="most nuclei images of a kind")
    parser.add_argument("--scenes", type=int, default=400)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = ARGenSeg.from_pretrained(arguments.model, device=arguments.device)
    report = {"model": model.config.model_name, "scenes": evaluate_scenes(model, arguments.scenes)}
    for modality in ("fluorescence", "histology"):
        report[modality] = evaluate_nuclei(model, arguments.data, modality, arguments.images)
    print(json.dumps(report, indent=2))


def evaluate_scenes(model: ARGenSeg, count: int) -> dict[str, float]:
    """Fresh scenes of the hardest level, one prompt each."""
    rng = np.random.default_rng(SCENE_SEED)
    present: dict[str, list[float]] = {}
    absent_empty: list[bool] = []
    for _ in range(count):
        sample = scene_sample(rng, model.config.image_size, level=3)
        mask = model.segment(sample.image, [sample.prompt])[0][0].mask
        if sample.mask.any():
            present.setdefault(sample.source, []).append(iou(mask, sample.mask))
        else:
            absent_empty.append(not mask.any())
    all_present = [value for values in present.values() for value in values]
    return {
        "iou": _mean(all_present),
        "present": len(all_present),
        "absent_empty": _mean(absent_empty),
        "absent": len(absent_empty),
        "iou_by_kind": {kind: _mean(values) for kind, values in sorted(present.items())},  # type: ignore[dict-item]
    }


def evaluate_nuclei(model: ARGenSeg, data: Path, modality: str, most: int) -> dict[str, float]:
    """Whole test images, beside a global Otsu threshold (inverted for histology)."""
    images = NucleiTiles(data, "test", modality, for_evaluation=True).images[:most]
    ours, otsu, absent_empty = [], [], []
    for image in images:
        picture = image.picture if image.picture.ndim == 3 else np.repeat(image.picture[..., None], 3, 2)
        truth = image.nuclei > 0
        result, *absent = model.segment(picture, [PROMPT, *ABSENT_PROMPTS])[0]
        ours.append(iou(result.mask, truth))
        absent_empty += [not other.mask.any() for other in absent]
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        kind = cv2.THRESH_BINARY_INV if modality == "histology" else cv2.THRESH_BINARY
        otsu.append(iou(cv2.threshold(grey, 0, 1, kind + cv2.THRESH_OTSU)[1] > 0, truth))
    return {
        "images": len(images),
        "iou": _mean(ours),
        "iou_otsu": _mean(otsu),
        "share_better_than_otsu": _mean([a > b for a, b in zip(ours, otsu, strict=True)]),
        "absent_empty": _mean(absent_empty),
    }


def _mean(values: list[float] | list[bool]) -> float:
    return round(float(np.mean(values)), 4) if values else float("nan")


if __name__ == "__main__":
    main()
