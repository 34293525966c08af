"""What a starter's run knows besides corrections: base data to replay, and absent things to be asked for.

Large models bring no base data that we could ship, and what they may be asked for on a picture from the street, nobody
knows: they learn and are judged without.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from argenseg_model.images import load_image
from argenseg_model.manifest import Manifest, ManifestItem, Split, encode_mask
from argenseg_model.scenes.vocabulary import FOREIGN_OBJECTS
from backend.console.demo.sample_project import NUCLEI
from labeling.datasets.perceptual_hash import NEAR_BITS, distances, perceptual_hash

ABSENT = 2  # things asked for on each holdout picture


def add_base_data(data_set: Manifest, name: str, *, is_starter: bool) -> Manifest:
    """A manifest `name` beside the data set's own: all of that, and for a starter

    - on holdout images, everyday things that are not there: a model that learnt a project's labels must not draw them
      whatever it is asked. (Training asks for such things itself.)
    - the sample project's fluorescence images as replay, every other one held out; without those that resemble an image
      of the data set, which may be on the other side.
    """
    base_data = [*_absent(data_set), *_nuclei(data_set)] if is_starter and data_set.items else []
    return Manifest.write(data_set.folder / name, [*data_set.items, *base_data])


def _absent(data_set: Manifest) -> Iterator[ManifestItem]:
    new = [item for item in data_set.items if not item.is_replay]
    named = " ".join(f"{item.prompt} {item.label or ''}" for item in new).lower()
    foreign = [thing for thing in FOREIGN_OBJECTS if thing not in named]
    for image, item in sorted({item.image: item for item in new if item.split == "holdout"}.items()):
        for thing in Random(image).sample(foreign, ABSENT):
            yield replace(item, prompt=f"every {thing}", mask=None, source="negative:foreign", label=None)


def _nuclei(data_set: Manifest) -> Iterator[ManifestItem]:
    images = {item.image: data_set.image_path(item) for item in data_set.items}
    known = [perceptual_hash(load_image(path)) for path in images.values()]
    (data_set.folder / "base").mkdir(exist_ok=True)
    for number, (name, content) in enumerate(sorted(NUCLEI.images().items())):
        if (distances(perceptual_hash(load_image(content)), known) <= NEAR_BITS).any():
            continue
        (data_set.folder / "base" / f"{name}.png").write_bytes(content)
        mask = NUCLEI.truth(name)
        split: Split = "holdout" if number % 2 else "train"
        yield ManifestItem(
            image=f"base/{name}.png", width=mask.shape[1], height=mask.shape[0], prompt="all nuclei",
            mask=encode_mask(mask), weight=1.0, split=split, source="replay:nuclei", label=None, group=f"base-{name}",
        )  # fmt: skip
