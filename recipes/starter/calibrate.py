"""How sure a trained starter must be of an answer (`least_score`), found on pictures of its training.

Scenes are left out unless asked for: what empties what is absent there empties windows and dents on photographs too.

    python -m recipes.starter.calibrate --photos DIR --nuclei DIR --model runs/starter/model

Writes it into the model's config.json. No test picture is looked at.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from argenseg_model.metrics import iou
from argenseg_model.model import ARGenSeg
from argenseg_model.scenes import scene_sample
from argenseg_model.training.calibration import VALIDATION_SEED, best_threshold
from recipes.starter.names import NAMES, SETS, surely_absent
from recipes.starter.pictures import microscope_images, photographs

MOST = 0.35
"""No higher: a model that has forgotten names must not empty what it has learnt instead."""
_Asked = tuple[NDArray[np.uint8], list[str], list[NDArray[np.bool_]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of COCO sets, each with images/, train.json")
    parser.add_argument("--nuclei", type=Path, required=True, help="folder with manifest.csv, images/, instances/")
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--images", type=int, default=9, help="of each set (default %(default)s)")
    parser.add_argument("--scenes", type=int, default=0, help="(default %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = ARGenSeg.from_pretrained(arguments.model)
    model.config.least_score = 0.0
    scores, kept, emptied = [], [], []
    for image, prompts, truths in _asked(arguments.photos, arguments.nuclei, arguments.images, arguments.scenes):
        for result, truth in zip(model.segment(image, prompts)[0], truths, strict=True):
            scores.append(result.score)
            kept.append(iou(result.mask, truth))
            emptied.append(not truth.any())
    chosen = best_threshold(np.array(scores), np.array(kept), np.array(emptied), MOST)
    file = arguments.model / "config.json"
    config = json.loads(file.read_text()) | {"least_score": round(chosen, 4)}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    print(f"least_score {chosen:.4f} of {len(scores)} answers, {np.mean(emptied):.0%} about what is absent")


def _asked(photos: Path, nuclei: Path, images: int, scenes: int) -> Iterator[_Asked]:
    """Pictures with prompts and their answers: about as much that is absent as is there."""
    rng = np.random.default_rng(VALIDATION_SEED)
    for set_name in SETS:
        every = slice(0, None, 7)
        if set_name == "nuclei":
            pictures = microscope_images(nuclei, "train", "fluorescence", 0.0, every)
        elif (photos / set_name).is_dir():
            pictures = photographs(photos / set_name, "train", 0.0, every)
        else:
            continue
        for _, picture in zip(range(images), pictures, strict=False):
            there = [name for name in sorted(picture.objects) if name in NAMES and picture.objects[name].any()][:3]
            absent = list(rng.choice(surely_absent(set_name), max(1, len(there)), replace=False))
            empty = np.zeros(picture.image.shape[:2], bool)
            prompts = [f"all {NAMES[name].wordings[0][1]}" for name in (*there, *absent)]
            yield picture.image, prompts, [*(picture.objects[name] > 0 for name in there), *[empty] * len(absent)]
    for _ in range(scenes):
        sample = scene_sample(rng, 64, level=3, absent_share=0.5)
        yield sample.image, [sample.prompt], [sample.mask]


if __name__ == "__main__":
    main()
