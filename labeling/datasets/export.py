"""Corrections in the formats of other tools: COCO, and a folder that Hugging Face `datasets` loads as an image folder.

What is exported is what annotators submitted: accepted, edited and added regions, with the image beside them. Each
format is written under a temporary name first: a folder that is there is whole.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from argenseg_model.errors import ARGenSegError
from argenseg_model.images import load_image
from argenseg_model.manifest import encode_mask
from labeling.datasets.images import ANOTHER_IMAGE, ImageKeeper, KeptImage, exif_orientation
from labeling.datasets.splits import place_images
from labeling.errors import LabelingError, StoreError
from labeling.regions.kinds import draw_regions
from labeling.store import AnnotationRecord, CorrectionRecord, Store

Masks = Literal["rle", "polygons"]


@dataclass(frozen=True)
class ExportedImage:
    """An image with what was submitted on it; the regions' masks are read as they are written."""

    image: KeptImage
    task_id: int
    regions: tuple[CorrectionRecord, ...]

    @property
    def file_name(self) -> str:
        """Named by the task and the image's content."""
        return f"{self.task_id}-{self.image.hashed.sha256[:12]}{self.image.suffix}"


@dataclass(frozen=True)
class Collected:
    """What can be exported, and why which tasks cannot (task id, reason)."""

    images: tuple[ExportedImage, ...]
    left_out: tuple[tuple[int, str], ...]


def collect(store: Store, keeper: ImageKeeper, annotations: Iterable[AnnotationRecord]) -> Collected:
    """The images of submitted annotations, fetched where they are not kept; several annotations' regions add up."""
    by_task: dict[tuple[int, int], list[AnnotationRecord]] = {}
    for annotation in annotations:
        if annotation.state == "submitted" and annotation.task_id is not None:
            by_task.setdefault((annotation.project.id, annotation.task_id), []).append(annotation)
    images, left_out = [], []
    for (_, task_id), found in by_task.items():
        known = store.images.of_tasks(found[0].project, [task_id]).get(task_id)
        try:
            if known is None:
                raise LabelingError("its image is not known: no event carried the task's data")
            image = keeper.keep(found[0].project, known)
        except StoreError:
            raise
        except (LabelingError, ARGenSegError) as error:
            left_out.append((task_id, str(error)))
            continue
        made_on_it = [annotation for annotation in found if image.was_annotated_in(annotation)]
        left_out += [(task_id, ANOTHER_IMAGE)] * (len(found) - len(made_on_it))
        regions = (item for annotation in made_on_it for item in annotation.corrections if item.mask_after is not None)
        if made_on_it:
            images.append(ExportedImage(image, task_id, tuple(regions)))
    return Collected(tuple(images), tuple(left_out))


def export_coco(store: Store, images: Sequence[ExportedImage], folder: Path, masks: Masks = "rle") -> int:
    """Write `folder`/annotations.json and images/; returns the number of annotations.

    RLE keeps every pixel. Polygons follow the pixels' edges; who fills them may still round a pixel differently.
    """
    labels = sorted({region.label or "" for image in images for region in image.regions})
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        for region in image.regions:
            mask = store.corrections.read_mask(region.mask_after or "")
            left, top, width, height = _box(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": labels.index(region.label or "") + 1,
                    "segmentation": _rle(mask) if masks == "rle" else _polygons(mask),
                    "area": int(np.count_nonzero(mask)),
                    "bbox": [left, top, width, height],
                    "iscrowd": 0,
                    "attributes": _facts(region),
                }
            )
    content = {
        "info": {"description": "Corrections exported by argenseg"},
        "images": [
            {"id": number, "file_name": f"images/{image.file_name}", "width": image.image.width}
            | {"height": image.image.height}
            for number, image in enumerate(images, 1)
        ],
        "categories": [{"id": number, "name": label or "region"} for number, label in enumerate(labels, 1)],
        "annotations": annotations,
    }
    _write_images(store, images, folder / "images")
    _write(folder / "annotations.json", json.dumps(content))
    return len(annotations)


def export_hugging_face(store: Store, images: Sequence[ExportedImage], folder: Path) -> int:
    """Write `folder`/train/metadata.jsonl beside the images: `load_dataset("imagefolder", data_dir=folder)` reads it.

    `split` is the image's side, "train", "holdout" or "quarantine": a column, because `datasets` refuses a folder for
    each where one of them has no region. `objects` holds a list for each of `bbox` (x, y, width, height in px),
    `label`, `mask` (COCO's RLE) and `kind`. Returns the number of regions.
    """
    hashed = [image.image.hashed for image in images]
    sides = store.datasets.place_images(lambda known: place_images(known, sorted(hashed, key=lambda each: each.sha256)))
    lines = []
    for image in images:
        masks = [store.corrections.read_mask(region.mask_after or "") for region in image.regions]
        objects = {
            "bbox": [_box(mask) for mask in masks],
            "label": [region.label or "" for region in image.regions],
            "kind": [region.kind for region in image.regions],
            "mask": [_rle(mask) for mask in masks],
        }
        facts = {"task": image.task_id, "split": sides[image.image.hashed.sha256].side, "objects": objects}
        lines.append(json.dumps({"file_name": image.file_name, **facts}))
    _write_images(store, images, folder / "train")
    _write(folder / "train" / "metadata.jsonl", "".join(f"{line}\n" for line in lines))
    return sum(len(image.regions) for image in images)


def _rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    encoded = encode_mask(mask)
    if encoded is None:
        empty = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": list(mask.shape), "counts": empty["counts"].decode()}
    return {"size": encoded.size, "counts": encoded.counts}


def _polygons(mask: NDArray[np.bool_]) -> list[list[float]]:
    """Along the pixels' edges; a hole is joined to its outline by a cut of no width."""
    percent = np.array(mask.shape[::-1]) / 100
    drawn = draw_regions("polygon", mask, tolerance=0)
    return [(np.array(region.value["points"]) * percent).reshape(-1).tolist() for region in drawn]


def _box(mask: NDArray[np.bool_]) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]


def _facts(region: CorrectionRecord) -> dict[str, Any]:
    names = ("kind", "iou", "boundary_iou", "prompt", "score", "model_version", "annotator_id", "annotation_id")
    return {name: getattr(region, name) for name in (*names, "task_id", "region_id")}


def _write_images(store: Store, images: Sequence[ExportedImage], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        unfinished = folder / f".{image.file_name}.part"
        unfinished.write_bytes(_upright(store.images.read(image.image.hashed.sha256), image.image.suffix))
        unfinished.replace(folder / image.file_name)


def _upright(content: bytes, suffix: str) -> bytes:
    """An image's file as it is; where EXIF says that it is to be turned, turned: masks lie on the upright picture, and
    not all readers heed EXIF.
    """
    if exif_orientation(content) == 1:
        return content
    upright = BytesIO()
    load_image(content).save(upright, {".jpg": "JPEG", ".tif": "TIFF", ".webp": "WEBP"}.get(suffix, "PNG"), quality=95)
    return upright.getvalue()


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
