"""Features of views, computed once: a head on cached features learns a hundred times faster than through the backbone.

    python -m recipes.starter.cache --photos DIR --nuclei DIR --wheel FILE --out DIR [--part 0/2]

Writes PART.features (float16, one row a view: the maps of efficientnet.TAPS one after the other) and PART.views.
"""

import argparse
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from argenseg_model.efficientnet import TAPS, Backbone
from argenseg_model.scenes.microscope import draw_tissue
from argenseg_model.training.batches import scene_samples
from recipes.starter.backbone import load_backbone
from recipes.starter.config import AUTOCONTRAST, MEAN, STD
from recipes.starter.pictures import NUCLEI, Picture, microscope_images, photographs
from recipes.starter.views import SIDE, View, make_view

PHOTO_VIEWS = {"facade": 6, "car_damage": 5, "indoor": 6, "campus_road": 6, "animal": 8, "desk_item": 4, "things": 12,
               "object": 10, "mushroom": 16, "granule": 12, "embryo": 12, "building": 10, "pothole": 8,
               "breadboard": 10, "seedling": 10, "tree": 10, "particles": 10}  # fmt: skip
RARE_VIEWS = {"shop": 6, "traffic infrastructure": 4, "non building infrastructure": 3, "car": 5, "street": 2,
              "balcony fence": 1, "fence": 3, "speed bump": 14, "capacitor": 14, "resistor": 14, "dent": 2,
              "scratch": 2, "exposed primer": 5, "damaged headlight": 3, "octahedron": 8, "sphere": 6, "branch": 4,
              "stair": 20, "elevator": 20, "leaf": 4, "stem": 4, "root": 3}  # fmt: skip
"""More views, cut around names that few pictures or few pixels show: of each picture that shows it."""
NUCLEI_VIEWS, TISSUE_VIEWS, SCENES = 12, 4, 6400
DRAWN_TISSUE, DRAWN_SIDE, DRAWN_VIEWS = 700, 320, 2
KINDS = ("photographs", "rare", "nuclei", "tissue", "drawn tissue", "scenes")
MAPS = tuple((channels, SIDE // stride, SIDE // stride) for channels, stride in TAPS.values())
ROW = sum(c * h * w for c, h, w in MAPS)
BATCH = 8


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("photos", "nuclei", "wheel", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=SCENES, help="drawn scenes (default %(default)s)")
    parser.add_argument("--scenes-from", type=int, default=0, help="number of the first (default %(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what is made (default: all)")
    parser.add_argument("--part", default="0/1", help="which of how many parts, one process each")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    part, parts = map(int, arguments.part.split("/"))
    backbone = Backbone().eval()
    load_backbone(backbone, arguments.wheel)
    backbone.to(torch.bfloat16).to(memory_format=torch.channels_last)
    arguments.out.mkdir(parents=True, exist_ok=True)
    views: list[View] = []
    images: list[NDArray[np.uint8]] = []
    with (arguments.out / f"{part}.features").open("wb") as out:
        for image, view in _views(arguments, part, parts):
            images.append(image)
            views.append(view)
            if len(images) == BATCH:
                out.write(features(backbone, images).tobytes())
                images.clear()
    kept = len(views) // BATCH * BATCH
    (arguments.out / f"{part}.views").write_bytes(pickle.dumps(views[:kept]))


@torch.inference_mode()
def features(backbone: Backbone, images: list[NDArray[np.uint8]]) -> NDArray[np.float16]:
    """(B, ROW) of pictures (SIDE, SIDE, 3) uint8."""
    pixels = (torch.from_numpy(np.stack(images)).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    maps = backbone(pixels.permute(0, 3, 1, 2).to(torch.bfloat16))
    return torch.cat([m.float().flatten(1) for m in maps], 1).half().numpy()


def _views(arguments: argparse.Namespace, part: int, parts: int) -> Iterator[tuple[NDArray[np.uint8], View]]:
    mine, kinds = slice(part, None, parts), arguments.kinds
    for name, count in PHOTO_VIEWS.items():
        folder = arguments.photos / name
        if not folder.is_dir():
            print(f"{folder} is missing: nothing of it is learnt")
        elif {"photographs", "rare"} & {*kinds}:
            for number, picture in enumerate(photographs(folder, "train", AUTOCONTRAST, mine)):
                if "photographs" in kinds:
                    rng = np.random.default_rng((1, part, number))
                    yield from (make_view(rng, picture, is_plain=i == 0) for i in range(count))
                if "rare" in kinds:
                    yield from _rare_views(np.random.default_rng((4, part, number)), picture)
    if {"nuclei", "tissue"} & {*kinds}:
        for number, picture in enumerate(
            microscope_images(arguments.nuclei, "train", "fluorescence", AUTOCONTRAST, mine)
        ):
            if "nuclei" in kinds:
                rng = np.random.default_rng((2, part, number))
                yield from (make_view(rng, picture, is_plain=i == 0) for i in range(NUCLEI_VIEWS))
            if "tissue" in kinds:
                rng = np.random.default_rng((5, part, number))
                yield from (make_view(rng, picture, look="tissue") for _ in range(TISSUE_VIEWS))
    if "drawn tissue" in kinds:
        for i in range(part, DRAWN_TISSUE, parts):
            rng = np.random.default_rng((6, i))
            drawn = draw_tissue(rng, DRAWN_SIDE, DRAWN_SIDE, brown=False)  # brown is what the demo teaches
            picture = Picture(NUCLEI, f"tissue-{i}", drawn.image, {"nucleus": drawn.instances})
            yield from (make_view(rng, picture, look="stained") for _ in range(DRAWN_VIEWS))
    if "scenes" in kinds:
        for i in range(arguments.scenes_from + part, arguments.scenes, parts):
            yield scene_view(np.random.default_rng((3, i)))


def _rare_views(rng: np.random.Generator, picture: Picture) -> Iterator[tuple[NDArray[np.uint8], View]]:
    for name, count in RARE_VIEWS.items():
        if name in picture.objects:
            yield from (make_view(rng, picture, around=name) for _ in range(count))


def scene_view(rng: np.random.Generator) -> tuple[NDArray[np.uint8], View]:
    """A drawn scene with ten prompts."""
    side = int(rng.choice([64, 64, 96, 128, 192, 256]))
    [asked] = scene_samples(rng, 1, 10, side, 3 if rng.random() < 0.85 else 2, absent_share=0.4)
    seen = np.stack([cv2.resize(m.astype(np.uint8), (64, 64), interpolation=cv2.INTER_NEAREST) for m in asked[0].seen])
    image = cv2.resize(asked[0].image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    masks = tuple((sample.prompt, _soft(sample.mask)) for sample in asked)
    return image, View("scene", {}, {}, asked=masks, seen=zlib.compress(np.packbits(seen > 0).tobytes(), 1))


def _soft(mask: NDArray[np.bool_]) -> bytes:
    grey = cv2.resize(mask.astype(np.uint8) * 255, (64, 64), interpolation=cv2.INTER_AREA)
    return zlib.compress(grey.tobytes(), 1)


if __name__ == "__main__":
    main()
