"""Edges and objects of the starter's masks, on real pictures: what the edge filter gains, and how objects are split.

    PYTHONPATH=. python -m benchmarks.mask_details --photos DIR --nuclei DIR --model starter --split validation

Boundary IoU and IoU with and without the guided filter (`edge_radius`), by how large the named things are in the
picture, and the filter's seconds. F1 at IoU 0.5 of the objects: connected components; split at their waists (what the
product does); split where the model is less sure (its probability map's sure cores are the seeds of a watershed).
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.segmentation import watershed

from argenseg_model import edges, segmentation
from argenseg_model.instances import label_instances
from argenseg_model.metrics import boundary_iou, iou
from argenseg_model.model import ARGenSeg
from benchmarks.instances import count_matches, f1
from recipes.starter.names import APART, NAMES, SETS
from recipes.starter.pictures import NUCLEI, Picture, microscope_images, photographs

SURE = 0.85
"""Probability of an object's core."""
SIZES = ((0.01, "under 1 %"), (0.1, "1 to 10 %"), (1.0, "over 10 %"))
"""Mean share of the picture that an annotated thing covers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--nuclei", type=Path, required=True)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--images", type=int, default=8, help="of each set (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = ARGenSeg.from_pretrained(arguments.model)
    radius, filtered = model.config.edge_radius, []

    def timed(*given: object) -> NDArray[np.float32]:
        begun = time.process_time()
        snapped = edges.snap_to_edges(*given)  # type: ignore[arg-type]
        filtered.append(time.process_time() - begun)
        return snapped

    segmentation.snap_to_edges = timed  # type: ignore[assignment]
    sharp: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    objects: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(8))
    for picture in _pictures(arguments):
        names = [name for name in sorted(picture.objects) if name in NAMES and picture.objects[name].any()]
        prompts = [f"all {NAMES[name].wordings[0][1]}" for name in names]
        if not prompts:
            continue
        answers = []
        for model.config.edge_radius in (0.0, radius):
            answers.append(model.segment(picture.image, prompts)[0])
        for name, coarse, fine in zip(names, *answers, strict=True):
            numbers = np.unique(picture.objects[name], return_inverse=True)[1].reshape(coarse.mask.shape)
            truth = numbers > 0
            share = truth.mean() / numbers.max()
            size = next(words for most, words in SIZES if share <= most)
            sharp[size].append((boundary_iou(coarse.mask, truth), boundary_iou(fine.mask, truth),
                                iou(coarse.mask, truth), iou(fine.mask, truth)))  # fmt: skip
            if name in APART and fine.mask.any():
                connected = cv2.connectedComponents(fine.mask.view(np.uint8), connectivity=8)[1]
                ways = (connected, label_instances(fine.mask), by_probability(fine.probability, fine.mask))
                matches = [count_matches(found, numbers) for found in ways]
                objects[name] += [1, matches[0][2], *(n for matched, found, _ in matches for n in (matched, found))]
    print(tables(sharp, objects))
    print(f"the filter took {np.mean(filtered) * 1000:.1f} ms a mask, at most {max(filtered) * 1000:.1f} ms")


def by_probability(probability: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Objects of a mask: one for each of its sure cores, and for each part without one."""
    cores = cv2.connectedComponents((probability > SURE).view(np.uint8) & mask.view(np.uint8), connectivity=8)[1]
    count, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    has_core = np.bincount(parts[cores > 0], minlength=count) > 0
    seeds = np.where(cores > 0, cores, np.where(has_core[parts], 0, parts + cores.max()) * mask)
    return np.asarray(watershed(-probability, seeds, mask=mask), np.int32)


def _pictures(arguments: argparse.Namespace) -> Iterator[Picture]:
    some = slice(arguments.images)
    for set_name in SETS:
        if set_name == NUCLEI:
            yield from microscope_images(arguments.nuclei, arguments.split, "fluorescence", 0.0, some)
        elif (arguments.photos / set_name).is_dir():
            yield from photographs(arguments.photos / set_name, arguments.split, 0.0, some)


def tables(sharp: dict[str, list[tuple[float, ...]]], objects: dict[str, NDArray[np.float64]]) -> str:
    lines = [
        "| a thing's size | masks | boundary IoU without | with the filter | IoU without | with |",
        "|" + "---|" * 6,
    ]
    for _, size in SIZES:
        if size in sharp:
            means = np.mean(sharp[size], 0)
            lines.append(f"| {size} | {len(sharp[size])} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    lines += ["", "| objects | images | annotated | connected | at waists | by probability |", "|" + "---|" * 6]
    for name, (images, annotated, *counts) in sorted(objects.items()):
        figures = [f1(counts[i], counts[i + 1], annotated) for i in (0, 2, 4)]
        lines.append(f"| {name} | {images:.0f} | {annotated:.0f} | " + " | ".join(f"{f:.3f}" for f in figures) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
