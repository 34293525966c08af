"""COCO's instances: `{"images": [...], "categories": [...], "annotations": [...]}` (https://cocodataset.org/#format-data)."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from pycocotools import mask as coco

from argenseg_model.annotated_sets.problems import Problems
from argenseg_model.images import MAX_PIXELS
from argenseg_model.manifest import CompressedMask, ManifestError, ManifestItem, Split, decode_mask, encode_mask

ABSENT_PER_IMAGE: Final = 2
"""Categories of which an image has nothing, asked for all the same (the image's name decides which)."""
_MAX_POINTS: Final = 100_000


def read_coco(path: Path, content: Mapping[str, Any], split: Split, problems: Problems) -> list[ManifestItem]:
    """Items of an image's categories. ManifestError if the file is none of COCO's."""
    images, names = read_images(path, content, problems), _names(path, content, problems)
    parts: dict[tuple[Any, Any], list[np.ndarray]] = defaultdict(list)
    unknown: set[tuple[Any, Any]] = set()  # a category of an image is left out when one of its objects is
    for annotation in _rows(path, content, "annotations"):
        key = _key(annotation.get("image_id")), _key(annotation.get("category_id"))
        try:
            if key[0] not in images or key[1] not in names:
                raise ValueError(f"there is no image {key[0]!r} or no category {key[1]!r} in the file")
            parts[key].append(segmentation_mask(annotation.get("segmentation"), *images[key[0]][1:]))
        except ValueError as error:
            problems.add(f"annotation {annotation.get('id')!r}", error)
            unknown.add(key)
    return list(_items(images, names, parts, unknown, split, problems))


def _items(
    images: Mapping[Any, tuple[str, int, int]],
    names: Mapping[Any, str],
    parts: Mapping[tuple[Any, Any], list[np.ndarray]],
    unknown: set[tuple[Any, Any]],
    split: Split,
    problems: Problems,
) -> Iterator[ManifestItem]:
    for image, (file, width, height) in images.items():
        absent = [category for category in names if (image, category) not in parts.keys() | unknown]
        absent.sort(key=lambda category: hashlib.sha256(f"{file} {category}".encode()).digest())
        asked = [category for category in names if (image, category) in parts and (image, category) not in unknown]
        for category in asked + absent[:ABSENT_PER_IMAGE]:
            masks = parts.get((image, category), [])
            try:
                yield ManifestItem(
                    image=file,
                    width=width,
                    height=height,
                    prompt=names[category],
                    mask=encode_mask(np.logical_or.reduce(masks)) if masks else None,
                    weight=1.0,
                    split=split,
                    source="coco",
                    label=names[category],
                    group=file,
                )
            except ValueError as error:
                problems.add(f"image {image!r}", error)
                break


def read_images(path: Path, content: Mapping[str, Any], problems: Problems) -> dict[Any, tuple[str, int, int]]:
    """{id: (path relative to the file, width, height)} of the images whose file is there."""
    images: dict[Any, tuple[str, int, int]] = {}
    seen: set[str] = set()
    for image in _rows(path, content, "images"):
        name, width, height = (image.get(field) for field in ("file_name", "width", "height"))
        file = next((file for file in (f"images/{name}", str(name)) if (path.parent / file).is_file()), None)
        if not isinstance(name, str) or not all(isinstance(side, int) and side > 0 for side in (width, height)):
            problems.add(f"image {image.get('id')!r}", "it needs file_name, width and height")
        elif width * height > MAX_PIXELS:
            problems.add(f"image {image.get('id')!r}", f"more than {MAX_PIXELS:,} pixels")
        elif file is None:
            problems.add(f"image {image.get('id')!r}", f"no file {name!r} in {path.parent / 'images'} or beside it")
        elif file in seen:
            problems.add(f"image {image.get('id')!r}", f"{name!r} is named twice")
        else:
            seen.add(file)
            images[_key(image.get("id"))] = file, width, height
    return images


def segmentation_mask(segmentation: Any, width: int, height: int) -> np.ndarray:
    """(height, width) bool of polygons or a run-length encoding. ValueError says what is wrong with it."""
    if isinstance(segmentation, Mapping):
        return decode_mask(_compressed(segmentation, width, height))
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("it has no segmentation")
    polygons = []
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or len(polygon) > _MAX_POINTS:
            raise ValueError("a polygon is a list of x, y, x, y, ... of three points or more")
        if not all(isinstance(number, int | float) and math.isfinite(number) for number in polygon):
            raise ValueError("a polygon's coordinates are numbers")
        points = np.clip(np.array(polygon, float).reshape(-1, 2), 0, (width, height))
        polygons.append(points.ravel().tolist())
    merged = coco.merge(coco.frPyObjects(polygons, height, width))
    return decode_mask(CompressedMask(size=[height, width], counts=merged["counts"].decode()))


def _compressed(rle: Mapping[str, Any], width: int, height: int) -> CompressedMask:
    size, counts = rle.get("size"), rle.get("counts")
    if size != [height, width]:
        raise ValueError(f"its size is {size!r}, the image's is {[height, width]}")
    if isinstance(counts, list):
        if not all(isinstance(run, int) and run >= 0 for run in counts) or sum(counts) != height * width:
            raise ValueError("its runs do not fill the image")
        counts = coco.frPyObjects({"size": size, "counts": counts}, height, width)["counts"].decode()
    if not isinstance(counts, str):
        raise ValueError("its run-length encoding has no counts")
    return CompressedMask(size=list(size), counts=counts)


def _names(path: Path, content: Mapping[str, Any], problems: Problems) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for category in _rows(path, content, "categories"):
        name = category.get("name")
        if not isinstance(name, str) or not name.strip() or name in names.values():
            problems.add(f"category {category.get('id')!r}", "it has no name of its own")
        else:
            names[_key(category.get("id"))] = name
    return names


def _rows(path: Path, content: Mapping[str, Any], name: str) -> Iterable[Mapping[str, Any]]:
    rows = content.get(name)
    if not isinstance(rows, list):
        raise ManifestError(
            f"{path}: is not COCO's format, it has no list of {name}; a manifest of ours ends in .jsonl"
        )
    return [row for row in rows if isinstance(row, Mapping)]


def _key(value: Any) -> Any:
    return value if isinstance(value, int | str) else None
