"""What a starter's run knows besides corrections: base data to replay, and absent things to be asked for.

Large models bring no base data that we could ship, and what they may be asked for on a picture from the street, nobody
knows: they learn and are judged without.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import numpy as np
from PIL import Image

from argenseg_model.manifest import Manifest, ManifestItem, Split, encode_mask
from argenseg_model.scenes.microscope import draw_fluorescence
from argenseg_model.scenes.vocabulary import FOREIGN_OBJECTS

ABSENT = 2  # things asked for on each holdout picture
CULTURES: dict[Split, int] = {"train": 16, "holdout": 16}  # how many pictures of nuclei are drawn for each side
_SEEDS: dict[Split, int] = {"train": 20_261_129, "holdout": 20_261_130}  # nothing else is drawn from these
_SIDE = 192  # px


def add_base_data(data_set: Manifest, name: str, *, is_starter: bool) -> Manifest:
    """A manifest `name` beside the data set's own: all of that, and for a starter

    - on holdout images, everyday things that are not there: a model that learnt a project's labels must not draw them
      whatever it is asked. (Training asks for such things itself.)
    - nuclei of the microscope simulator as replay, drawn into the folder `base`: the same in every run, others to learn
      from than to measure on.
    """
    base_data = [*_absent(data_set), *_cultures(data_set)] if is_starter and data_set.items else []
    return Manifest.write(data_set.folder / name, [*data_set.items, *base_data])


def _absent(data_set: Manifest) -> Iterator[ManifestItem]:
    new = [item for item in data_set.items if not item.is_replay]
    named = " ".join(f"{item.prompt} {item.label or ''}" for item in new).lower()
    foreign = [thing for thing in FOREIGN_OBJECTS if thing not in named]
    for image, item in sorted({item.image: item for item in new if item.split == "holdout"}.items()):
        for thing in Random(image).sample(foreign, ABSENT):
            yield replace(item, prompt=f"every {thing}", mask=None, source="negative:foreign", label=None)


def _cultures(data_set: Manifest) -> Iterator[ManifestItem]:
    (data_set.folder / "base").mkdir(exist_ok=True)
    for split, count in CULTURES.items():
        for number in range(count):
            picture = draw_fluorescence(np.random.default_rng([_SEEDS[split], number]), _SIDE, _SIDE)
            name = f"nuclei-{split}-{number:02}"
            Image.fromarray(picture.image).save(data_set.folder / "base" / f"{name}.png")
            yield ManifestItem(
                image=f"base/{name}.png", width=_SIDE, height=_SIDE, prompt="all nuclei",
                mask=encode_mask(picture.nuclei), weight=1.0, split=split, source="replay:nuclei", label=None,
                group=f"base-{name}",
            )  # fmt: skip
