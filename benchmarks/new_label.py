"""A label that the starter was never taught, learnt from corrected images: beside a U-Net that a user would train.

    PYTHONPATH=. python -m benchmarks.new_label --data DIR --images 5 10 20 40 --seeds 0 1 --out report.json

The label is the nuclei of stained tissue (docs/data.md says where the pictures can be had). For each number of images
the starter learns as `argenseg finetune` lets it; the U-Net then gets the same images and the same CPU seconds. IoU on
test images, with a 95 % interval (bootstrap over images); `--validation` measures on training images that are not
learnt from, to choose settings by. What the starter knew is measured before and after: drawn scenes, fluorescence.
"""

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from argenseg_model.manifest import Manifest, ManifestItem, encode_mask
from argenseg_model.metrics import iou
from argenseg_model.model import ARGenSeg
from argenseg_model.scenes import scene_sample
from argenseg_model.training.finetune import FinetuneOptions, finetune
from benchmarks.unet import Example, segment, train_unet
from worker.finetune.base_data import add_base_data

PROMPT = "all nuclei"
SCENES, CULTURES, SCENE_SEED = 30, 8, 2_026_13


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv, images/, instances/")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--images", type=int, nargs="+", default=[5, 10, 20, 40])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=FinetuneOptions("").steps)
    parser.add_argument("--learning-rate", type=float, default=FinetuneOptions("").learning_rate)
    parser.add_argument("--kept-change", type=float, default=FinetuneOptions("").kept_change)
    parser.add_argument("--validation", action="store_true", help="measure on 16 training images, without a U-Net")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    learnt_from = list(_examples(arguments.data, "train", "histology"))
    if arguments.validation:
        learnt_from, test = learnt_from[:-16], learnt_from[-16:]
    else:
        test = list(_examples(arguments.data, "test", "histology"))
    known = list(_examples(arguments.data, "test", "fluorescence"))[:CULTURES]
    rows = [{"method": "starter", "images": 0} | _measure_starter(arguments.model, test, known)]
    print(json.dumps(rows[-1]), flush=True)
    for count in arguments.images:
        for seed in arguments.seeds:
            order = np.random.default_rng(seed).permutation(len(learnt_from))[:count]
            examples = [learnt_from[i] for i in order]
            options = FinetuneOptions(
                "benchmark", steps=arguments.steps, seed=seed, learning_rate=arguments.learning_rate,
                kept_change=arguments.kept_change,
            )  # fmt: skip
            with tempfile.TemporaryDirectory() as folder:
                begun = time.process_time()
                finetune(arguments.model, _manifest(Path(folder), examples), Path(folder) / "run", options)
                seconds = time.process_time() - begun
                learnt = _measure_starter(Path(folder) / "run" / "model", test, known)
            rows.append({"method": "starter, corrected", "images": count, "seed": seed, "seconds": seconds} | learnt)
            print(json.dumps(rows[-1]), flush=True)
            if not arguments.validation:
                backbone = ARGenSeg.from_pretrained(arguments.model).vision_model.backbone
                unet = train_unet(backbone, examples, seconds, seed)
                measured = _measure(lambda picture, unet=unet: segment(unet, picture), test)
                rows.append({"method": "U-Net", "images": count, "seed": seed, "seconds": seconds} | measured)
                print(json.dumps(rows[-1]), flush=True)
            if arguments.out:
                arguments.out.write_text(json.dumps(rows))
    print(table(rows))


def _examples(folder: Path, split: str, modality: str) -> Iterator[Example]:
    with (folder / "manifest.csv").open(newline="") as lines:
        chosen = [row["id"] for row in csv.DictReader(lines) if (row["split"], row["modality"]) == (split, modality)]
    for image_id in chosen:
        picture = np.asarray(Image.open(folder / "images" / f"{image_id}.png").convert("RGB"))
        yield picture, np.asarray(Image.open(folder / "instances" / f"{image_id}.png")) > 0


def _manifest(folder: Path, examples: list[Example]) -> Manifest:
    items = []
    for number, (picture, mask) in enumerate(examples):
        Image.fromarray(picture).save(folder / f"{number}.png")
        height, width = mask.shape
        items.append(
            ManifestItem(
                image=f"{number}.png", width=width, height=height, prompt=PROMPT, mask=encode_mask(mask), weight=1.0,
                split="train", source="annotation", label="nucleus", group=str(number),
            )
        )  # fmt: skip
    return add_base_data(Manifest.write(folder / "corrections.jsonl", items), "manifest.jsonl", is_starter=True)


def _measure(answer: Callable[[NDArray[np.uint8]], NDArray[np.bool_]], test: list[Example]) -> dict[str, object]:
    values = np.array([iou(answer(picture), mask) for picture, mask in test])
    drawn = values[np.random.default_rng(0).integers(len(values), size=(1000, len(values)))].mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"iou": round(float(values.mean()), 4), "interval": [round(float(low), 3), round(float(high), 3)]}


def _measure_starter(folder: str | Path, test: list[Example], known: list[Example]) -> dict[str, object]:
    model = ARGenSeg.from_pretrained(folder)
    measured = _measure(lambda picture: model.segment(picture, PROMPT)[0][0].mask, test)
    cultures = [iou(model.segment(picture, PROMPT)[0][0].mask, mask) for picture, mask in known]
    rng = np.random.default_rng(SCENE_SEED)
    samples = [scene_sample(rng, 64, level=3) for _ in range(SCENES)]
    scenes = [iou(model.segment(sample.image, sample.prompt)[0][0].mask, sample.mask) for sample in samples]
    return measured | {"fluorescence": round(float(np.mean(cultures)), 4), "scenes": round(float(np.mean(scenes)), 4)}


def table(rows: list[dict]) -> str:
    """Markdown."""
    lines = ["| images | seed | method | CPU seconds | IoU | 95 % interval | fluorescence | scenes |", "|" + "---|" * 8]
    for row in rows:
        low, high = row["interval"]
        known = [f"{row[name]:.3f}" if name in row else "" for name in ("fluorescence", "scenes")]
        lines.append(
            f"| {row['images']} | {row.get('seed', '')} | {row['method']} | {row.get('seconds', 0):.0f} | "
            f"{row['iou']:.3f} | {low:.3f} to {high:.3f} | {known[0]} | {known[1]} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
