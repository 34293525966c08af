"""How well touching objects are told apart: F1 at IoU 0.5 on real nuclei, beside connected components.

PYTHONPATH=. python benchmarks/instances.py --data DIR        (docs/data.md says where to have it)

The mask of all nuclei together is split; what comes out is matched with the annotated nuclei. So this measures the
split alone, with a perfect mask.
"""

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from argenseg_model.instances import label_instances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv and instances/")
    folder = parser.parse_args().data
    with (folder / "manifest.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == "test"]
    counts: dict[str, np.ndarray] = {}
    for row in rows:
        truth = np.asarray(Image.open(folder / "instances" / f"{row['id']}.png")).astype(np.int32)
        mask = truth > 0
        split = label_instances(mask)
        connected = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[1]
        for name in (row["modality"], "all"):
            counts.setdefault(name, np.zeros(6))
            counts[name] += [1, *count_matches(split, truth), *count_matches(connected, truth)[:2]]
    print("modality      images  nuclei   F1@0.5 ours   F1@0.5 connected components")
    for name, (images, matched, found, annotated, matched_connected, found_connected) in counts.items():
        ours, theirs = f1(matched, found, annotated), f1(matched_connected, found_connected, annotated)
        print(f"{name:14}{images:5.0f}{annotated:9.0f}{ours:12.3f}{theirs:16.3f}")


def count_matches(found: np.ndarray, truth: np.ndarray) -> tuple[int, int, int]:
    """Matched pairs (IoU over 0.5: then a match is the only one), objects found, objects annotated."""
    width = int(truth.max()) + 1
    both = np.bincount(found.ravel() * width + truth.ravel(), minlength=(int(found.max()) + 1) * width).reshape(
        -1, width
    )
    union = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
    matched = int((both[1:, 1:] / union[1:, 1:] > 0.5).sum())
    return matched, np.unique(found[found > 0]).size, np.unique(truth[truth > 0]).size


def f1(matched: float, found: float, annotated: float) -> float:
    return 2 * matched / (found + annotated)


if __name__ == "__main__":
    main()
