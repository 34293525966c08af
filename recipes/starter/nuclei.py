"""Training tiles of real microscope images: the public-domain nuclei of the 2018 Data Science Bowl."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from argenseg_model.errors import ARGenSegError
from argenseg_model.samples import Sample
from argenseg_model.scenes.drawing import pick
from argenseg_model.scenes.prompts import absent_anywhere

NUCLEI_PROMPTS = (  # the usual ones several times
    "all nuclei", "all nuclei", "all nuclei", "nuclei", "nuclei", "every nucleus", "nucleus", "the nuclei",
    "cell nuclei", "all cell nuclei", "each nucleus", "bright nuclei", "all the nuclei", "all of the nuclei", "cells",
    "all cells", "every cell", "cell", "the cells", "Nuclei", "Nucleus", "All nuclei", "Cell", "all bright nuclei",
    "stained nuclei", "find all nuclei", "segment the nuclei", "bright blobs", "all bright spots", "every cell nucleus",
    "every nucleus, also faint ones", "All cells", "Cells", "Cell nuclei", "every single nucleus",
)  # fmt: skip
STAINED_NUCLEI_PROMPTS = tuple(prompt for prompt in NUCLEI_PROMPTS if "bright" not in prompt)
_SCALES = (0.6, 1.6)  # magnification of a training tile
_EVALUATION_SPLITS = ("test", "demo")


class TrainingDataError(ARGenSegError):
    """The training data is missing or broken, or what was asked for must not be trained on."""


@dataclass(frozen=True)
class NucleiImage:
    id: str
    picture: np.ndarray  # (H, W) or (H, W, 3) uint8, RGB
    nuclei: np.ndarray  # (H, W) uint8: 255 on any nucleus, else 0
    brightest: float  # its brightest pixels, 0..1


class NucleiTiles:
    """Random tiles of one split and modality, held in memory.

    `data_dir` has manifest.csv (id, split, modality, ...), images/ID.png and instances/ID.png (16-bit: 0 background,
    1..n nuclei). Raises TrainingDataError for data that is held out: the splits "test" and "demo" and every histology
    image, unless `for_evaluation` says that nothing is trained on them. `prepare` is applied to every whole picture.
    """

    def __init__(
        self, data_dir: str | Path, split: str = "train", modality: str = "fluorescence", side: int = 128,
        *, for_evaluation: bool = False, prepare: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        if not for_evaluation and (split in _EVALUATION_SPLITS or modality == "histology"):
            raise TrainingDataError(
                f"{modality} images of split {split!r} are held out and must not be trained on; "
                "pass for_evaluation=True to measure on them"
            )
        self.side = side
        self.images = _load_images(Path(data_dir), split, modality, prepare or (lambda picture: picture))

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, rng: np.random.Generator, absent_share: float = 0.15) -> Sample:
        """One augmented tile; `absent_share` (0..1) of the prompts ask for something that no microscope image shows."""
        source = pick(rng, self.images)
        picture, nuclei = self._crop(rng, source)
        if rng.random() < 0.8 and not nuclei.any():  # background teaches too, but a little of it is enough
            picture, nuclei = self._crop(rng, source)
        picture, nuclei = _turn(rng, picture, nuclei)
        stained = rng.random() < 0.25
        image = (_stain if stained else _expose)(rng, picture, source.brightest)
        if rng.random() < absent_share:
            return self.absent(rng, image, f"nuclei:{source.id}")
        prompts = STAINED_NUCLEI_PROMPTS if stained else NUCLEI_PROMPTS
        return Sample(image, pick(rng, prompts), nuclei >= 128, f"nuclei:{source.id}")

    @staticmethod
    def absent(rng: np.random.Generator, image: np.ndarray, source: str) -> Sample:
        """A tile asked for something that is not there: in a blue tint, "blue objects" would be."""
        grey = not np.ptp(image, axis=2).any()
        return Sample(image, absent_anywhere(rng, grey), np.zeros(image.shape[:2], bool), source)

    def _crop(self, rng: np.random.Generator, source: NucleiImage) -> tuple[np.ndarray, np.ndarray]:
        """A random window of the image, magnified to side x side; a small image is continued by reflection."""
        low, high = _SCALES
        scale = low * (high / low) ** rng.random()
        window = round(self.side / scale)
        picture, nuclei = source.picture, source.nuclei
        height, width = nuclei.shape
        if height < window or width < window:
            border = (0, max(window - height, 0), 0, max(window - width, 0), cv2.BORDER_REFLECT_101)
            picture, nuclei = cv2.copyMakeBorder(picture, *border), cv2.copyMakeBorder(nuclei, *border)
            height, width = nuclei.shape
        top, left = int(rng.random() * (height - window + 1)), int(rng.random() * (width - window + 1))
        cut = (slice(top, top + window), slice(left, left + window))
        size, interpolation = (self.side, self.side), cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return (
            cv2.resize(picture[cut], size, interpolation=interpolation),
            cv2.resize(nuclei[cut], size, interpolation=interpolation),
        )


def _load_images(
    data_dir: Path, split: str, modality: str, prepare: Callable[[np.ndarray], np.ndarray]
) -> list[NucleiImage]:
    manifest = data_dir / "manifest.csv"
    if not manifest.is_file():
        raise TrainingDataError(f"no manifest.csv in {data_dir}: it should lie there beside images/ and instances/")
    with manifest.open(newline="") as lines:
        ids = [row["id"] for row in csv.DictReader(lines) if row["split"] == split and row["modality"] == modality]
    if not ids:
        raise TrainingDataError(f"{manifest} lists no {modality} image of split {split!r}")
    return [_load_image(data_dir, image_id, prepare) for image_id in ids]


def _load_image(data_dir: Path, image_id: str, prepare: Callable[[np.ndarray], np.ndarray]) -> NucleiImage:
    picture = cv2.imread(str(data_dir / "images" / f"{image_id}.png"), cv2.IMREAD_ANYCOLOR)
    instances = cv2.imread(str(data_dir / "instances" / f"{image_id}.png"), cv2.IMREAD_UNCHANGED)
    if picture is None or instances is None or picture.shape[:2] != instances.shape:
        raise TrainingDataError(f"{data_dir}: {image_id}.png in images/ and instances/ are not a readable pair")
    if picture.ndim == 3:
        picture = np.ascontiguousarray(picture[:, :, ::-1])
    picture = prepare(picture)
    brightest = max(float(np.percentile(np.asarray(picture), 99.9)) / 255, 0.02)
    return NucleiImage(image_id, picture, np.where(instances > 0, 255, 0).astype(np.uint8), brightest)


def _turn(rng: np.random.Generator, picture: np.ndarray, nuclei: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One of the eight turns and reflections of a square."""
    turn = int(rng.random() * 8)
    if turn >= 4:
        picture, nuclei = picture[:, ::-1], nuclei[:, ::-1]
    return np.rot90(picture, turn % 4), np.rot90(nuclei, turn % 4)


def _stain(rng: np.random.Generator, picture: np.ndarray, brightest: float) -> np.ndarray:
    """As if the fluorescent dye were an absorbing stain in transmitted light. (S, S[, 3]) -> (S, S, 3) uint8.

    Light falls off exponentially with dye (Beer-Lambert); a counterstain of another colour lies in smooth blotches.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    dye = np.minimum(grey.astype(np.float32) / 255 / brightest, 1.2) ** (0.5 + rng.random())
    blotches = rng.random((2 + int(rng.random() * 7),) * 2, dtype=np.float32)
    counterstain = np.clip(cv2.resize(blotches, grey.shape[::-1], interpolation=cv2.INTER_CUBIC), 0, 1)
    absorbed: np.ndarray = np.float32(0.5 + 1.7 * rng.random()) * dye[..., None] * _absorbance(rng)
    absorbed = absorbed + np.float32(0.8 * rng.random()) * counterstain[..., None] * _absorbance(rng)
    light = 255 * (1 - 0.25 * rng.random((1, 1, 3), dtype=np.float32) * rng.random(dtype=np.float32))
    return _blur_or_add_noise(rng, np.rint(light * np.exp(-absorbed)).astype(np.uint8))


def _absorbance(rng: np.random.Generator) -> np.ndarray:
    """(3,) float32: how strongly a stain takes up red, green and blue; the strongest 1."""
    absorbance = 0.1 + rng.random(3, dtype=np.float32)
    return np.asarray(absorbance / absorbance.max())


def _expose(rng: np.random.Generator, picture: np.ndarray, brightest: float) -> np.ndarray:
    """Another exposure, contrast, gamma and, at times, a tint, blur or noise. (S, S[, 3]) -> (S, S, 3) uint8.

    `brightest` (0..1) is that of the whole image: a tile of mere background must not be turned up until it shows noise.
    """
    levels: np.ndarray = np.arange(256, dtype=np.float32) / 255
    if rng.random() < 0.8:
        aim = brightest * ((0.25 + 0.75 * rng.random()) / brightest) ** rng.random()  # what the brightest becomes
        levels = np.minimum(levels / brightest, 2) ** (0.65 * 2.4 ** rng.random())  # gamma 0.65 to 1.56
        levels = np.clip((levels + rng.random() * 0.15 - 0.04) * aim, 0, 1)
    tint: np.ndarray = np.ones((1, 3), np.float32)
    if rng.random() < 0.2:
        tint = 1 - rng.random((1, 3), dtype=np.float32) * rng.random(dtype=np.float32)
        tint /= tint.max()
    table = np.rint(levels[:, None] * tint * 255).astype(np.uint8)  # (256, 3)
    if picture.ndim == 2:
        picture = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_GRAY2RGB)
    return _blur_or_add_noise(rng, cv2.LUT(np.ascontiguousarray(picture), table[None]))


def _blur_or_add_noise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (3, 3), 0.4 + 0.6 * rng.random())
    if rng.random() < 0.2:
        strength = 1 + int(rng.random() * 8)
        noise = rng.integers(0, 2 * strength + 1, image.shape[:2], dtype=np.uint8)  # grey, like a sensor's
        noise = cv2.cvtColor(noise, cv2.COLOR_GRAY2RGB)
        image = cv2.subtract(cv2.add(image, noise), np.full_like(noise, strength))
    return image
