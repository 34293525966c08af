"""Real pictures with named masks: photographs in COCO format and microscope images; objects kept apart."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from argenseg_model.processing import stretch_contrast

NUCLEI = "nuclei"
"""The set of the microscope images, beside the names of the folders of photographs."""
KEPT_BACK = 10
"""Of a set's training pictures each tenth is kept back: the split "validation", on which settings are chosen."""
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Picture:
    """A picture with all that is known to be in it.

    Attributes:
        set: which set it is of.
        id: its file's name.
        image: (H, W, 3) uint8, RGB, its contrast stretched as inference does it.
        objects: by name, (H, W) uint16: 0 elsewhere, 1..n the objects.
    """

    set: str
    id: str
    image: NDArray[np.uint8]
    objects: dict[str, NDArray[np.uint16]]


def of_split(entries: list[Entry], split: str) -> list[Entry]:
    """What of a set's training (or test) entries belongs to a split: "train", "validation" or "test"."""
    if split == "test":
        return entries
    return [entry for i, entry in enumerate(entries) if (i % KEPT_BACK == KEPT_BACK - 1) == (split == "validation")]


def photographs(folder: Path, split: str, autocontrast: float, every: slice = slice(None)) -> Iterator[Picture]:
    """Pictures of a COCO set: `folder`/images/, train.json and test.json; `every` takes some of a split."""
    coco = json.loads((folder / ("test.json" if split == "test" else "train.json")).read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    annotations: dict[int, list[dict]] = {}
    for annotation in coco["annotations"]:
        annotations.setdefault(annotation["image_id"], []).append(annotation)
    for entry in of_split(coco["images"], split)[every]:
        image = Image.open(folder / "images" / entry["file_name"]).convert("RGB")
        objects: dict[str, NDArray[np.uint16]] = {}
        for number, annotation in enumerate(annotations.get(entry["id"], []), 1):
            rle = annotation["segmentation"]
            if isinstance(rle, list):
                rle = coco_mask.merge(coco_mask.frPyObjects(rle, image.height, image.width))
            elif isinstance(rle["counts"], list):
                rle = coco_mask.frPyObjects(rle, image.height, image.width)
            name = names[annotation["category_id"]]
            empty = np.zeros((image.height, image.width), np.uint16)
            objects.setdefault(name, empty)[coco_mask.decode(rle) > 0] = number
        yield Picture(folder.name, entry["file_name"], np.asarray(stretch_contrast(image, autocontrast)), objects)


def microscope_images(
    folder: Path, split: str, modality: str, autocontrast: float, every: slice = slice(None)
) -> Iterator[Picture]:
    """Images of `folder`/manifest.csv with their nuclei."""
    with (folder / "manifest.csv").open(newline="") as lines:
        marked = "test" if split == "test" else "train"
        ids = [row["id"] for row in csv.DictReader(lines) if (row["split"], row["modality"]) == (marked, modality)]
    for image_id in of_split(ids, split)[every]:
        image = Image.open(folder / "images" / f"{image_id}.png").convert("RGB")
        instances = cv2.imread(str(folder / "instances" / f"{image_id}.png"), cv2.IMREAD_UNCHANGED)
        stretched = np.asarray(stretch_contrast(image, autocontrast))
        yield Picture(NUCLEI, image_id, stretched, {"nucleus": instances.astype(np.uint16)})
