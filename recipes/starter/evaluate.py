"""Measure a starter on pictures that it has not seen: test photographs, nuclei, tissue, fresh scenes.

    python -m recipes.starter.evaluate --photos DIR --nuclei DIR --model starter --out report.json

Prints a table. IoU is the mean over images where the thing is there, with a 95 % interval (bootstrap over images); of
what is absent it is the share of prompts that stay empty (no pixel; on photographs under 0.2 % of the pixels).
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from argenseg_model.metrics import iou
from argenseg_model.model import ARGenSeg
from argenseg_model.scenes import scene_sample
from recipes.starter.asking import nonsense
from recipes.starter.names import NAMES, SETS, surely_absent
from recipes.starter.pictures import Picture, microscope_images, photographs

PROMPT = "all nuclei"
ABSENT_PROMPTS = ("all red circles", "every car", "the dog")
SCENE_SEED = 2_026_11
SCENE_SIDE = 64
PARTS = ["photographs", "fluorescence", "histology", "scenes"]
FEW_PIXELS = 0.002
"""Share of a photograph that counts as empty."""
DECODER = {"facade": 0.856, "window": 0.489, "vegetation": 0.577, "car": 0.429, "door": 0.742, "floor": 0.961,
           "wall": 0.789, "dent": 0.182, "scratch": 0.104, "broken or missing part": 0.227, "turtle": 0.657,
           "deer": 0.590, "tiger": 0.749, "building": 0.461, "road": 0.940, "sidewalk": 0.791, "speed bump": 0.033,
           "pothole": 0.450, "mushroom": 0.773, "capacitor": 0.0, "resistor": 0.038, "led": 0.775, "chip": 0.729,
           "root": 0.231, "stem": 0.191, "leaf": 0.412, "branch": 0.0, "trunk": 0.671, "pellet": 0.544, "coke": 0.713,
           "sinter": 0.665, "embryo": 0.892, "nucleus": 0.828}  # fmt: skip
"""A plain decoder of fixed names on the same backbone, whole picture: measured before, mean 0.530."""

Values = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of COCO sets, each with images/, test.json")
    parser.add_argument("--nuclei", type=Path, required=True, help="folder with manifest.csv, images/, instances/")
    parser.add_argument("--model", default="starter", help="folder, Hub id or 'starter'")
    parser.add_argument("--out", type=Path, help="all values, as JSON")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=10_000, help="most images of a set")
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument(
        "--split", choices=["test", "validation"], default="test", help="settings: choose on validation"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured (default: all)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = ARGenSeg.from_pretrained(arguments.model, device=arguments.device)
    started, values = time.monotonic(), defaultdict(list)
    parts = {
        "photographs": evaluate_photographs(model, arguments.photos, arguments.images, arguments.split),
        "fluorescence": evaluate_nuclei(model, arguments.nuclei, "fluorescence", arguments.images, arguments.split),
        "histology": evaluate_nuclei(model, arguments.nuclei, "histology", arguments.images, arguments.split),
        "scenes": evaluate_scenes(model, arguments.scenes, SCENE_SEED + (arguments.split == "validation")),
    }
    for part in arguments.parts:
        for row, value in parts[part]:
            values[row].append(value)
    print(table(values))
    print(f"{time.monotonic() - started:.0f} s")
    if arguments.out:
        arguments.out.write_text(json.dumps(values))


def evaluate_photographs(model: ARGenSeg, folder: Path, most: int, split: str) -> Iterator[tuple[str, float]]:
    """(row of the table, value) of each prompt: every name that is there, and three that are not."""
    autocontrast = 0.0  # the model stretches what it is given
    for set_name in SETS:
        if set_name == "nuclei":
            continue
        rng = np.random.default_rng(1)
        for picture in photographs(folder / set_name, split, autocontrast, slice(most)):
            there = [name for name in sorted(picture.objects) if name in NAMES and picture.objects[name].any()]
            absent = list(rng.choice(surely_absent(set_name), 2, replace=False))
            prompts = [f"all {NAMES[name].wordings[0][1]}" for name in (*there, *absent)]
            results = model.segment(picture.image, [*prompts, nonsense(rng)])[0]
            for name, result in zip(there, results, strict=False):
                row = f"name: {name}" if set_name not in ("object", "things") else f"coco: {name}"
                yield row, iou(result.mask, picture.objects[name] > 0)
            for result in results[len(there) : len(prompts)]:
                yield f"absent: {set_name}", float(result.mask.mean() < FEW_PIXELS)
            yield "absent: nonsense", float(results[-1].mask.mean() < FEW_PIXELS)


def evaluate_nuclei(model: ARGenSeg, folder: Path, modality: str, most: int, split: str) -> Iterator[tuple[str, float]]:
    """Whole test images: all nuclei beside a global Otsu threshold (inverted for histology), words, absent things."""
    for picture in microscope_images(folder, split, modality, 0.0):
        if (most := most - 1) < 0:
            return
        numbers = picture.objects["nucleus"]
        words = words_of(picture) if modality == "fluorescence" else {}
        prompts = [PROMPT, *words, *ABSENT_PROMPTS]
        results = model.segment(picture.image, prompts)[0]
        grey = cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY)
        kind = cv2.THRESH_BINARY_INV if modality == "histology" else cv2.THRESH_BINARY
        name = "name: nucleus" if modality == "fluorescence" else modality
        yield name, iou(results[0].mask, numbers > 0)
        yield f"{modality}, Otsu", iou(cv2.threshold(grey, 0, 1, kind + cv2.THRESH_OTSU)[1] > 0, numbers > 0)
        for (prompt, truth), result in zip(words.items(), results[1:], strict=False):
            yield f"word: {prompt}", iou(result.mask, truth)
        for result in results[1 + len(words) :]:
            yield f"absent: {modality}", float(not result.mask.any())


def words_of(picture: Picture) -> dict[str, NDArray[np.bool_]]:
    """Prompts about one or some of the nuclei -> their masks; wordings that were held out among them ("hand side")."""
    numbers = picture.objects["nucleus"]
    counts = np.bincount(numbers.ravel())
    counts[0] = 0
    ids = np.flatnonzero(counts)
    if len(ids) < 2:
        return {}
    ys, xs = np.nonzero(numbers)
    of = numbers[ys, xs]
    x = np.bincount(of, xs) / np.maximum(counts, 1) / numbers.shape[1]
    y = np.bincount(of, ys) / np.maximum(counts, 1) / numbers.shape[0]
    left, top = np.isin(numbers, ids[x[ids] < 0.5]), np.isin(numbers, ids[y[ids] < 0.5])
    largest = numbers == counts.argmax()
    return {
        "the largest nucleus": largest,
        "the biggest of the nuclei": largest,
        "the smallest nucleus": numbers == ids[counts[ids].argmin()],
        "nuclei in the left half": left,
        "nuclei at the left hand side": left,
        "nuclei in the top half": top,
        "the rightmost nucleus": numbers == ids[x[ids].argmax()],
    }


def evaluate_scenes(model: ARGenSeg, count: int, seed: int) -> Iterator[tuple[str, float]]:
    """Fresh scenes of the hardest level, one prompt each; on each tenth, nuclei too."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        sample = scene_sample(rng, SCENE_SIDE, level=3)
        prompts = [sample.prompt, *([PROMPT] if number % 10 == 0 else [])]
        result, *nuclei = model.segment(sample.image, prompts)[0]
        if sample.mask.any():
            yield "scenes", iou(result.mask, sample.mask)
            yield sample.source, iou(result.mask, sample.mask)
        else:
            yield "absent: scenes", float(not result.mask.any())
        for other in nuclei:
            yield "absent: nuclei on scenes", float(not other.mask.any())


def table(values: Values) -> str:
    """Markdown: a row for each thing measured, the mean over the names of DECODER first."""
    rng = np.random.default_rng(0)
    names = {name: float(np.mean(values[f"name: {name}"])) for name in DECODER if f"name: {name}" in values}
    lines = ["| measured | images | mean | 95 % interval | plain decoder |", "|---|---|---|---|---|"]
    if names:
        beside = np.mean([DECODER[name] for name in names])
        lines.append(f"| mean of {len(names)} names | | {np.mean(list(names.values())):.3f} | | {beside:.3f} |")
    for row, measured in sorted(values.items()):
        drawn = np.asarray(measured)[rng.integers(len(measured), size=(1000, len(measured)))].mean(1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        beside = f"{DECODER[row[6:]]:.3f}" if row.startswith("name: ") and row[6:] in DECODER else ""
        lines.append(f"| {row} | {len(measured)} | {np.mean(measured):.3f} | {low:.3f} to {high:.3f} | {beside} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
