"""The demo's pictures: drawn ones, whose nuclei are known to the pixel, and real ones out of Python packages.

Nothing is fetched and no picture lies in our own tree: a package that is not installed is left out (`pip install
'argenseg-labeling[demo]'` installs them), and the demo says so.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from argenseg_model.images import load_image
from argenseg_model.scenes.microscope import MicroscopePicture, draw_fluorescence, draw_tissue


@dataclass(frozen=True)
class DrawnPicture:
    """A picture of the microscope simulator. The id, which is the file's name too, is what it is drawn from."""

    id: str  # of letters, digits and "_"
    draw: Callable[..., MicroscopePicture]
    height: int
    width: int
    options: Mapping[str, float]

    @cached_property
    def _drawn(self) -> MicroscopePicture:
        return self.draw(np.random.default_rng(list(self.id.encode())), self.height, self.width, **self.options)

    def png(self) -> bytes:
        """The picture's file."""
        return _png(Image.fromarray(self._drawn.image))

    def truth(self) -> NDArray[np.bool_]:
        """(height, width) bool: the nuclei."""
        return self._drawn.nuclei


@dataclass(frozen=True)
class PackagedPicture:
    """A real picture, or `crop` of it (left, top, right, bottom). Nobody has drawn its truth.

    `label` and `prompt` say what the shipped model draws well on it, `typed` what may be typed then.
    """

    id: str
    file: str  # below site-packages; it begins with the package's name
    licence: str
    crop: tuple[int, int, int, int] | None = None
    label: str | None = None
    prompt: str | None = None
    typed: str | None = None

    @property
    def path(self) -> Path | None:
        """The file, or None where the package is not installed or does not have it."""
        package, _, rest = self.file.partition("/")
        found = find_spec(package)  # finds the folder, and imports nothing
        folders = found.submodule_search_locations if found else None
        path = Path(next(iter(folders))) / rest if folders else None
        return path if path is not None and path.is_file() else None

    def png(self) -> bytes:
        """The picture's file, or what is shown of it. FileNotFoundError if it is not there."""
        if self.path is None:
            raise FileNotFoundError(f"{self.file}: install the package that ships it")
        image = load_image(self.path)
        return _png(image.crop(self.crop) if self.crop else image)


Picture = DrawnPicture | PackagedPicture


def _culture(number: int, height: int, width: int, **options: float) -> DrawnPicture:
    return DrawnPicture(f"culture_{number:02}", draw_fluorescence, height, width, options)


def _tissue(side: str, number: int) -> DrawnPicture:
    """Tissue that an antibody marks brown, which a model that never saw it takes for nuclei."""
    options = {"diameter": 16 + 4 * (number % 4), "brown": True}
    return DrawnPicture(f"{side}_{number:02}", draw_tissue, 128, 160, options)


CULTURES = (
    _culture(1, 256, 256, diameter=28, share=0.15),
    _culture(2, 256, 256, diameter=14, share=0.12),
    _culture(3, 256, 256, diameter=30, share=0.20),
    _culture(4, 256, 256, diameter=18, share=0.10),
    _culture(5, 256, 256, diameter=40, share=0.20),
    _culture(6, 256, 256, diameter=12, share=0.20),
    _culture(7, 256, 320, diameter=24, share=0.25),
    _culture(8, 320, 256, diameter=16, share=0.08),
    _culture(9, 360, 360, diameter=26, share=0.15),
    _culture(10, 256, 256, diameter=50, share=0.25),
    _culture(11, 256, 256, diameter=20, share=0.30),
    _culture(12, 520, 696, diameter=20, share=0.15),
)

# Half of it to correct and to learn from, half to measure on: the gate wants twelve at least. Numbers that are left out
# show hardly a nucleus.
TISSUE = (
    *(_tissue("open", number) for number in (*range(1, 9), *range(10, 16))),
    *(_tissue("holdout", number) for number in (*range(2, 6), *range(7, 17))),
)

_NUCLEAR, _NUCLEAR_LICENCE = "mahotas/demos/data/nuclear.png", "MIT, with mahotas"
NUCLEI = (  # two pieces of 1344x1024 pixels; the nuclei are dim
    PackagedPicture("mahotas_01", _NUCLEAR, _NUCLEAR_LICENCE, (0, 512, 512, 1024)),
    PackagedPicture("mahotas_02", _NUCLEAR, _NUCLEAR_LICENCE, (832, 0, 1344, 512)),
)

IMMUNOHISTOCHEMISTRY = (  # glands of the colon, marked brown; to correct, and to learn from
    PackagedPicture("open_ihc", "skimage/data/ihc.png", "no known copyright restrictions (CMMI), with scikit-image"),
)

# Of coffee, cat, motorcycle, pagoda, flower and galaxies the starter knows no name, or draws half of what it means.
PHOTOGRAPHS = (
    PackagedPicture(
        "coins", "skimage/data/coins.png", "no known copyright restrictions (Brooklyn Museum), with scikit-image",
        label="Coin", prompt="all coins", typed="the largest coin",
    ),
)  # fmt: skip


def missing_packages() -> list[str]:
    """Packages with pictures for the demo that are not installed."""
    packaged = (*NUCLEI, *IMMUNOHISTOCHEMISTRY, *PHOTOGRAPHS)
    return sorted({picture.file.partition("/")[0] for picture in packaged if picture.path is None})


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    return file.getvalue()
