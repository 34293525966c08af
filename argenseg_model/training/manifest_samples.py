"""Training samples of a manifest: tiles or whole images, drawn by weight, new items and replay apart."""

import re
import sys
from collections import OrderedDict
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from argenseg_model.configuration import ARGenSegConfig
from argenseg_model.errors import ImageError
from argenseg_model.images import load_image
from argenseg_model.manifest import Manifest, ManifestError, ManifestItem
from argenseg_model.processing import stretch_contrast
from argenseg_model.samples import Sample
from argenseg_model.scenes.vocabulary import FOREIGN_OBJECTS
from argenseg_model.training.batches import scene_samples

CACHE_BYTES = 512 * 2**20
"""Decoded images kept in memory; the others are read again when they are drawn."""

ABSENT_SHARE = 0.4
"""Of the prompts about drawn scenes, as in the end of the starter's training: fewer, and it draws what is not there."""

TRIES = 50
"""Images drawn in vain, one after another, until a run fails: most of the set cannot be read."""

_ZOOM = 0.4  # a tile is magnified by 2 ** -ZOOM to 2 ** ZOOM
_DETERMINERS = ("", "the ", "every ", "all ", "each ")
_DIRECTIONS = re.compile(r"\b(left|right|top|bottom|upper|lower|above|below|under|over|north|south|east|west)", re.I)


@dataclass(frozen=True)
class ImageItems:
    """One image's items; `weight` is their sum."""

    items: tuple[ManifestItem, ...]
    weight: float


class ManifestSamples:
    """Draws groups of samples (several prompts about one picture) from the train split of a manifest.

    An image is drawn in proportion to the weights of its items, and so are its prompts: over a run an item of weight 2
    is learnt from twice as often as one of weight 1. Three groups in four begin with a prompt whose object is there;
    items without a mask (absent labels, deleted regions) follow on the same picture, where they are hardest.

    A manifest with few of these, as of a project with one label, would teach a small model to draw that label's objects
    whatever it is asked. With `foreign`, every other group asks for an everyday thing too that no prompt or label
    names, and gets an empty mask.

    An image that cannot be read is reported once, on stderr, and another one drawn: what is drawn depends on the
    generator and the files alone, so also when a run goes on later.
    """

    def __init__(
        self, manifest: Manifest, config: ARGenSegConfig, cache_bytes: int = CACHE_BYTES, *, foreign: bool = False
    ) -> None:
        """ManifestError if there is nothing new to learn from."""
        train = manifest.split("train")
        self._manifest, self._config = train, config
        self._new = _by_image([item for item in train.items if not item.is_replay])
        self._replay = _by_image([item for item in train.items if item.is_replay])
        if not self._new:
            raise ManifestError("the manifest has no items to train on (split 'train', not replay); correct more tasks")
        self._foreign = _foreign_things(train) if foreign else []
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._unreadable: set[str] = set()

    def draw(self, rng: np.random.Generator, groups: int, prompts: int, replay: int) -> list[list[Sample]]:
        """`groups` pictures with up to `prompts` samples each, the last `replay` of them older or base data.

        Replay comes from the manifest's replay items and from drawn scenes, half and half; where the manifest has none,
        from scenes alone.
        """
        drawn = [self._group(rng, self._new, prompts) for _ in range(groups - replay)]
        from_manifest = int((rng.random(replay) < 0.5).sum()) if self._replay else 0
        drawn += [self._group(rng, self._replay, prompts) for _ in range(from_manifest)]
        return drawn + self._scenes(rng, replay - from_manifest, prompts)

    def _group(self, rng: np.random.Generator, images: list[ImageItems], prompts: int) -> list[Sample]:
        asked, picture = self._readable(rng, images, prompts)
        masks = [item.decode_mask() for item in asked]
        if self._config.image_mode == "tile":
            picture, masks = _draw_tile(rng, picture, masks, self._config.image_size)
        if not any(_DIRECTIONS.search(item.prompt) for item in asked):
            picture, masks = _turn(rng, picture, masks)
        picture = _expose(rng, picture)
        samples = [Sample(picture, item.prompt, mask, item.source) for item, mask in zip(asked, masks, strict=True)]
        if self._foreign and rng.random() < 0.5:
            prompt = f"{_DETERMINERS[rng.integers(len(_DETERMINERS))]}{self._foreign[rng.integers(len(self._foreign))]}"
            samples.append(Sample(picture, prompt, np.zeros_like(masks[0]), "negative:foreign"))
        return samples

    def _readable(
        self, rng: np.random.Generator, images: list[ImageItems], prompts: int
    ) -> tuple[list[ManifestItem], np.ndarray]:
        """Items of an image and its picture. Raises what is wrong with the last of TRIES images."""
        weights = np.array([image.weight for image in images])
        for tries_left in reversed(range(TRIES)):
            items = images[rng.choice(len(images), p=weights / weights.sum())].items
            asked = _draw_items(rng, items, prompts)
            try:
                return asked, self._picture(asked[0])
            except (ImageError, ManifestError) as error:
                if not tries_left:
                    raise
                if asked[0].image not in self._unreadable:
                    self._unreadable.add(asked[0].image)
                    print(f"{asked[0].image} is left out: {error}", file=sys.stderr, flush=True)
        raise AssertionError("unreachable")

    def _scenes(self, rng: np.random.Generator, scenes: int, prompts: int) -> list[list[Sample]]:
        config = self._config
        groups = scene_samples(rng, scenes, prompts, config.image_size, 3, absent_share=ABSENT_SHARE) if scenes else []
        stretched = [_stretch(Image.fromarray(group[0].image), config) for group in groups]
        return [
            [replace(sample, image=image, source=f"replay:{sample.source}") for sample in group]
            for group, image in zip(groups, stretched, strict=True)
        ]

    def _picture(self, item: ManifestItem) -> np.ndarray:
        """(H, W, 3) uint8, stretched as inference does it."""
        if item.image in self._cache:
            self._cache.move_to_end(item.image)
            return self._cache[item.image]
        image = load_image(self._manifest.image_path(item))
        if image.size != (item.width, item.height):
            raise ManifestError(
                f"{item.image}: is {image.size} px, not {(item.width, item.height)} as the manifest says"
            )
        picture = _stretch(image, self._config)
        self._cache[item.image] = picture
        while len(self._cache) > 1 and sum(cached.nbytes for cached in self._cache.values()) > self._cache_bytes:
            self._cache.popitem(last=False)
        return picture


def _foreign_things(manifest: Manifest) -> list[str]:
    """Everyday things that the manifest does not name."""
    new = [item for item in manifest.items if not item.is_replay]
    named = " ".join(f"{item.prompt} {item.label or ''}" for item in new).lower()
    return [thing for thing in FOREIGN_OBJECTS if thing not in named]


def _by_image(items: list[ManifestItem]) -> list[ImageItems]:
    images: dict[str, list[ManifestItem]] = {}
    for item in items:
        images.setdefault(item.image, []).append(item)
    return [ImageItems(tuple(same), sum(item.weight for item in same)) for _, same in sorted(images.items())]


def _draw_items(rng: np.random.Generator, items: tuple[ManifestItem, ...], count: int) -> list[ManifestItem]:
    """Up to `count` different items by weight, as a rule beginning with one that has a mask."""
    with_mask = [item for item in items if item.mask is not None]
    first = _draw(rng, with_mask if with_mask and rng.random() < 0.75 else list(items))
    asked, rest = [first], [item for item in items if item is not first]
    while rest and len(asked) < count:
        asked.append(_draw(rng, rest))
        rest = [item for item in rest if item is not asked[-1]]
    return asked


def _draw(rng: np.random.Generator, items: list[ManifestItem]) -> ManifestItem:
    weights = np.array([item.weight for item in items])
    return items[rng.choice(len(items), p=weights / weights.sum())]


def _stretch(image: Image.Image, config: ARGenSegConfig) -> np.ndarray:
    return np.asarray(stretch_contrast(image, config.autocontrast))


def _draw_tile(
    rng: np.random.Generator, picture: np.ndarray, masks: list[np.ndarray], side: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A window of about the tile's size at the scale of inference, as a rule over a pixel of the first mask."""
    height, width = picture.shape[:2]
    enlarged = max(1.0, side / min(height, width))  # as inference enlarges what is smaller than a tile
    window = max(1, round(side / (enlarged * 2 ** rng.uniform(-_ZOOM, _ZOOM))))
    pixels = [picture, *(mask.astype(np.uint8) * 255 for mask in masks)]
    if (low := max(window - height, 0)) | (wide := max(window - width, 0)):
        pixels = [cv2.copyMakeBorder(one, 0, low, 0, wide, cv2.BORDER_REFLECT_101) for one in pixels]
        height, width = pixels[0].shape[:2]
    place = rng.random(2) * (height - window + 1, width - window + 1)
    inside = np.flatnonzero(pixels[1])
    if len(inside) and rng.random() < 0.75:
        place = np.array(divmod(int(inside[rng.integers(len(inside))]), width)) - rng.random(2) * window
    top, left = (int(np.clip(at, 0, most - window)) for at, most in zip(place, (height, width), strict=True))
    cut = np.s_[top : top + window, left : left + window]
    kind = cv2.INTER_AREA if window > side else cv2.INTER_LINEAR
    picture, *resized = (cv2.resize(one[cut], (side, side), interpolation=kind) for one in pixels)
    return picture, [mask > 127 for mask in resized]


def _turn(
    rng: np.random.Generator, picture: np.ndarray, masks: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One of the eight turns and reflections of a square."""
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    turned = [np.rot90(one[:, ::-1] if mirrored else one, turns) for one in (picture, *masks)]
    return np.ascontiguousarray(turned[0]), turned[1:]


def _expose(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Half of the pictures a little brighter or darker; colours, which prompts name, stay what they are."""
    if rng.random() < 0.5:
        return picture
    levels = (np.arange(256) / 255) ** rng.uniform(0.8, 1.25) * rng.uniform(0.85, 1.1) * 255
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)[picture]
