"""Seams and pinholes of the starter's masks on a real picture from elsewhere: nuclear.png of the mahotas package.

    PYTHONPATH=. python -m benchmarks.seams [--model starter] [--show FILE.png]

A seam is an edge of the mask that runs straight along rows or columns for 24 px and more; a pinhole is a hole of less
than 30 px. Beside the model stands a local threshold of the picture's logarithm, which finds the picture's nuclei.
"""

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from argenseg_model.instances import drop_small
from argenseg_model.metrics import iou
from argenseg_model.model import ARGenSeg

STRAIGHT, PINHOLE, LEAST_NUCLEUS = 24, 30, 200
"""px, square px, square px."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--show", type=Path, help="write the picture with both outlines")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spec = find_spec("mahotas")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install mahotas: the picture is in its wheel")
    picture = np.asarray(Image.open(Path(spec.origin).parent / "demos" / "data" / "nuclear.png").convert("RGB"))
    truth = by_threshold(picture)
    begun = time.process_time()
    found = ARGenSeg.from_pretrained(arguments.model).segment(picture, "all nuclei")[0][0]
    seconds = time.process_time() - begun
    print(f"IoU with the threshold {iou(found.mask, truth):.3f}; {seconds:.1f} s; score {found.score:.2f}")
    print("| mask | objects | straight edges | pinholes |\n|---|---|---|---|")
    for name, mask in (("the threshold", truth), ("the model", found.mask)):
        objects = cv2.connectedComponents(mask.view(np.uint8))[0] - 1
        print(f"| {name} | {objects} | {straight_edges(mask)} | {pinholes(mask)} |")
    if arguments.show:
        shown = np.clip(picture.astype(np.float32) * 255 / max(1, np.percentile(picture, 99.5)), 0, 255).astype(
            np.uint8
        )
        for mask, colour in ((truth, (0, 255, 0)), (found.mask, (255, 60, 60))):
            outlines = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
            cv2.drawContours(shown, outlines, -1, colour, 1)
        Image.fromarray(shown).save(arguments.show)


def by_threshold(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Brighter than the surroundings in the logarithm, and than Otsu's threshold of what is left."""
    grey = np.log1p(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32))
    above = cv2.GaussianBlur(grey, (0, 0), 2) - cv2.GaussianBlur(grey, (0, 0), 80)
    levels = cv2.normalize(above, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    mask = cv2.threshold(levels, 0, 1, cv2.THRESH_OTSU)[1] > 0
    return np.asarray(ndimage.binary_fill_holes(drop_small(mask, LEAST_NUCLEUS)))


def straight_edges(mask: NDArray[np.bool_]) -> int:
    """Runs of at least STRAIGHT px along which a row's (column's) mask ends; the picture's own border is none."""
    count = 0
    for lines in (mask, mask.T):
        for side in (lines[1:] & ~lines[:-1], lines[:-1] & ~lines[1:]):
            padded = np.pad(side.astype(np.int8), ((0, 0), (1, 1)))
            starts, ends = (np.argwhere(np.diff(padded, axis=1) == step)[:, 1] for step in (1, -1))
            count += int((ends - starts >= STRAIGHT).sum())
    return count


def pinholes(mask: NDArray[np.bool_]) -> int:
    """Holes of less than PINHOLE px."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((~mask).view(np.uint8), connectivity=4)
    return int((stats[1:, cv2.CC_STAT_AREA] < PINHOLE).sum())


if __name__ == "__main__":
    main()
