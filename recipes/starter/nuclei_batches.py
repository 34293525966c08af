"""Nuclei tiles for a batch: each is asked for its nuclei and for something that no microscope image shows."""

from pathlib import Path

import numpy as np
from PIL import Image

from argenseg_model.processing import stretch_contrast
from argenseg_model.samples import Sample
from recipes.starter.nuclei import NucleiTiles


def nuclei_samples(rng: np.random.Generator, tiles: NucleiTiles, count: int) -> list[list[Sample]]:
    """Each tile twice: asked for its nuclei (as a rule), and asked for something that no microscope image shows."""
    groups = []
    for _ in range(count):
        sample = tiles.sample(rng)
        groups.append([sample, tiles.absent(rng, sample.image, sample.source)])
    return groups


def load_nuclei(data: Path, side: int, cutoff: float, **which: object) -> NucleiTiles:
    """Nuclei tiles whose images were stretched as a whole, as inference does it before it cuts tiles."""

    def stretch(picture: np.ndarray) -> np.ndarray:
        return np.asarray(stretch_contrast(Image.fromarray(picture).convert("RGB"), cutoff))

    return NucleiTiles(data, side=side, prepare=stretch, **which)  # type: ignore[arg-type]
