"""The histology images of the nuclei data: which are corrected, which are the gate's holdout, which only measure."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from argenseg_model.images import load_image
from labeling.datasets.perceptual_hash import perceptual_hash
from labeling.datasets.splits import HashedImage, place_images

LEARNT = "histology"  # no starter has seen an image of it
Instances = NDArray[np.int32]


@dataclass(frozen=True)
class TruthImage:
    """An image of the data folder, with its true nuclei."""

    id: str
    path: Path
    instances_path: Path

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        return np.asarray(load_image(self.path))

    def instances(self) -> Instances:
        """(H, W): 0 background, 1..n nuclei."""
        return np.asarray(cv2.imread(str(self.instances_path), cv2.IMREAD_UNCHANGED), np.int32)


@dataclass(frozen=True)
class Plan:
    """`holdout` is corrected first and measured by the gate, `rounds` are corrected one after the other."""

    holdout: tuple[TruthImage, ...]
    rounds: tuple[tuple[TruthImage, ...], ...]

    @property
    def train(self) -> tuple[TruthImage, ...]:
        """The images of all rounds."""
        return tuple(image for some in self.rounds for image in some)


def list_images(data: Path, split: str, modality: str) -> list[TruthImage]:
    """The images of a split ("train", "test") and modality, in the order of their names."""
    with (data / "manifest.csv").open(newline="") as lines:
        ids = sorted(row["id"] for row in csv.DictReader(lines) if (row["split"], row["modality"]) == (split, modality))
    return [TruthImage(name, data / "images" / f"{name}.png", data / "instances" / f"{name}.png") for name in ids]


def plan_rounds(data: Path, rounds: int, per_round: int, seed: int) -> Plan:
    """Draw the order of the training images.

    The side of each is not ours to choose: the product draws it from the file's content. So that its gate has its
    holdout from the first round on, all images that it will hold out are corrected before the others.
    """
    images = list_images(data, "train", LEARNT)
    hashed = {
        image.id: HashedImage(
            hashlib.sha256(image.path.read_bytes()).hexdigest(), perceptual_hash(load_image(image.path))
        )
        for image in images
    }
    sides = {placed.sha256: placed.side for placed in place_images([], list(hashed.values()))}
    of_side = {
        side: [image for image in images if sides[hashed[image.id].sha256] == side] for side in ("train", "holdout")
    }
    order = np.random.default_rng(seed).permutation(len(of_side["train"]))
    train = [of_side["train"][index] for index in order]
    return Plan(tuple(of_side["holdout"]), tuple(_slices(train, rounds, per_round)))


def _slices(images: list[TruthImage], rounds: int, per_round: int) -> Iterator[tuple[TruthImage, ...]]:
    for number in range(rounds):
        if some := images[number * per_round : (number + 1) * per_round]:
            yield tuple(some)
