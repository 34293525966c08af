"""A folder in the layout of the nuclei data, of noise with two discs."""

import csv
from pathlib import Path

import cv2
import numpy as np


def truth() -> np.ndarray:
    """Two nuclei of 9 px radius, (64, 80): 0 background, 1 and 2."""
    rows, columns = np.mgrid[:64, :80]
    discs = [(rows - 20) ** 2 + (columns - x) ** 2 <= 81 for x in (20, 60)]
    return (discs[0] * 1 + discs[1] * 2).astype(np.int32)


def write_nuclei_folder(folder: Path, images: dict[tuple[str, str], int]) -> Path:
    """`images`: how many there are of each split and modality."""
    for name in ("images", "instances"):
        (folder / name).mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for split, modality in [kind for kind, count in images.items() for _ in range(count)]:
        name = f"i{len(rows):02}"
        cv2.imwrite(str(folder / "images" / f"{name}.png"), rng.integers(0, 255, (64, 80, 3)).astype(np.uint8))
        cv2.imwrite(str(folder / "instances" / f"{name}.png"), truth().astype(np.uint16))
        rows.append({"id": name, "split": split, "modality": modality})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "split", "modality"])
        writer.writeheader()
        writer.writerows(rows)
    return folder
