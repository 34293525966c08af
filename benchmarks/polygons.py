"""Vertices and IoU of our polygons beside OpenCV's Douglas-Peucker (approxPolyDP), at the same tolerance.

PYTHONPATH=. python benchmarks/polygons.py --data DIR        (docs/data.md says where to have it)

DIR has a manifest.csv (id, split) and instances/ID.png. OpenCV gets the outlines that its users give it
(findContours, through the centres of the pixels, holes as rings of their own) and is filled by its own fillPoly; ours
are one ring with keyholes for each object, filled by pixel centres.
"""

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from argenseg_model.metrics import iou
from benchmarks.brush_rle import make_mask
from benchmarks.idleness import describe_idleness
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.outlines import draw_outlines
from labeling.regions.rasterize import fill_rings

TOLERANCES = (0, 1, 2, 4)
IMAGES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv and instances/")
    masks = {"nuclei": read_nuclei(parser.parse_args().data), "smooth 4000x3000": [make_mask(3000, 4000, "smooth") > 0]}
    print(describe_idleness())
    print("masks             tolerance   vertices ours/OpenCV  ratio   mean IoU ours/OpenCV   processor s ours/OpenCV")
    for name, group in masks.items():
        for tolerance in TOLERANCES:
            (ours, our_iou, our_s), (theirs, their_iou, their_s) = (
                measure(group, draw, tolerance) for draw in (draw_ours, draw_opencv)
            )
            print(
                f"{name:18}{tolerance:9}   {ours:10} / {theirs:<10}{ours / theirs:5.2f}",
                f"      {our_iou:.4f} / {their_iou:.4f}          {our_s:.2f} / {their_s:.2f}",
            )


def read_nuclei(folder: Path) -> list[np.ndarray]:
    with (folder / "manifest.csv").open() as lines:
        ids = [row["id"] for row in csv.DictReader(lines) if row["split"] == "test"][:IMAGES]
    return [np.asarray(Image.open(folder / "instances" / f"{image_id}.png")) > 0 for image_id in ids]


def draw_ours(mask: np.ndarray, tolerance: float) -> tuple[int, np.ndarray]:
    rings = draw_outlines(CroppedMask.of(mask), tolerance)
    return sum(map(len, rings)), fill_rings(rings, mask.shape[1], mask.shape[0])


def draw_opencv(mask: np.ndarray, tolerance: float) -> tuple[int, np.ndarray]:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [cv2.approxPolyDP(contour, tolerance, True) for contour in contours]
    return sum(map(len, rings)), cv2.fillPoly(np.zeros(mask.shape, np.uint8), rings, 1) > 0


def measure(masks: Sequence[np.ndarray], draw, tolerance: float) -> tuple[int, float, float]:
    """Vertices of all masks, mean IoU, seconds of the processor."""
    began = time.process_time()
    drawn = [draw(mask, tolerance) for mask in masks]
    taken = time.process_time() - began
    ious = [iou(filled, mask) for (_, filled), mask in zip(drawn, masks, strict=True)]
    return sum(count for count, _ in drawn), float(np.mean(ious)), taken


if __name__ == "__main__":
    main()
