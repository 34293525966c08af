"""How good a model is on a manifest: a row for each item, and figures beside those of trivial answers (no torch).

The rows are what the gate compares two models by; a person reads `summarise`. Figures about masks (cIoU, gIoU, boundary
IoU, object F1 at IoU 0.5) are over the items whose object is in the picture; of the others the share counts on which
the model drew something all the same. Objects are connected components of the truth and of the answer.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np

from argenseg_model.errors import ARGenSegError
from argenseg_model.files import replace_file
from argenseg_model.images import load_image
from argenseg_model.manifest import Manifest, ManifestError, ManifestItem
from argenseg_model.metrics import InstanceMatch, boundary_iou, iou, match_instances

SIZES: Final = {"small": 32**2, "medium": 96**2, "large": float("inf")}
"""COCO's classes of object size: pixels of the item's median object, below the number."""

BASELINES: Final = ("otsu", "inverted otsu", "everything", "nothing")


class EvaluationError(ARGenSegError):
    """A model cannot be measured on this manifest."""


class Segmenter(Protocol):
    """What is measured: `argenseg_model.ARGenSeg`, or anything that answers as it does."""

    def segment(self, images: Any, prompts: Sequence[str]) -> list[list[Any]]: ...


@dataclass(frozen=True)
class ItemResult:
    """One item's answer, measured.

    Attributes:
        area: pixels of the truth; 0 for an absent object.
        size: class of the median object (`SIZES`), "absent" without one.
        drawn: pixels of the answer.
        intersection, union: pixels.
        matched, predicted, actual: objects, matched at IoU >= 0.5.
        score: the model's own, 0..1.
        baselines: IoU of each trivial answer.
    """

    image: str
    group: str
    prompt: str
    label: str | None
    source: str
    area: int
    size: str
    drawn: int
    intersection: int
    union: int
    iou: float
    boundary_iou: float
    matched: int
    predicted: int
    actual: int
    score: float
    baselines: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """A plain dict, for a line of a jsonl file."""
        return asdict(self)


def evaluate(
    model: Segmenter,
    manifest: Manifest,
    *,
    on_answer: Callable[[ManifestItem, np.ndarray, np.ndarray], None] = lambda item, pixels, mask: None,
) -> list[ItemResult]:
    """Ask every item of the manifest, image by image; rows come in the order of image, then prompt.

    `on_answer(item, pixels, mask)` is called with each answer. Raises EvaluationError for a manifest without items,
    ManifestError for an image that is not the one that the manifest means, ImageError for one that cannot be read.
    """
    items = sorted(manifest.items, key=lambda item: (item.image, item.prompt))
    by_image = [list(same) for _, same in groupby(items, key=lambda item: item.image)]
    if not by_image:
        raise EvaluationError("the manifest has no items of this split; there is nothing to measure")
    rows = []
    for same in by_image:
        image = load_image(manifest.image_path(same[0]))
        if image.size != (same[0].width, same[0].height):
            raise ManifestError(
                f"{same[0].image}: is {image.size[0]} x {image.size[1]} px, but the manifest says "
                f"{same[0].width} x {same[0].height}; is it another image?"
            )
        pixels = np.asarray(image)
        answers = model.segment(pixels, [item.prompt for item in same])[0]
        trivial = _trivial_answers(pixels)
        for item, answer in zip(same, answers, strict=True):
            rows.append(_measure(item, answer, trivial))
            on_answer(item, pixels, np.asarray(answer.mask, bool))
    return rows


def summarise(rows: Iterable[ItemResult]) -> dict[str, Any]:
    """Figures of all rows, and the same by label and by object size. A figure without items is None."""
    rows = list(rows)
    labels = sorted({row.label for row in rows if row.label is not None})
    return figures(rows) | {
        "by_label": {label: figures([row for row in rows if row.label == label]) for label in labels},
        "by_size": {size: figures([row for row in rows if row.size == size]) for size in SIZES},
    }


def figures(rows: Sequence[ItemResult]) -> dict[str, Any]:
    """The figures of some rows: numbers of 0..1, and how many images and items they are of."""
    present, absent = [row for row in rows if row.area], [row for row in rows if not row.area]
    objects = InstanceMatch(
        *(sum(getattr(row, name) for row in present) for name in ("matched", "predicted", "actual"))
    )
    return {
        "images": len({row.image for row in rows}),
        "items": len(present),
        "ciou": sum(row.intersection for row in present) / sum(row.union for row in present) if present else None,
        "giou": _mean([row.iou for row in present]),
        "boundary_iou": _mean([row.boundary_iou for row in present]),
        "object_f1": objects.f1 if present else None,
        "absent_items": len(absent),
        "false_positives": _mean([float(row.drawn > 0) for row in absent]),
        "baselines": {name: _mean([row.baselines[name] for row in present]) for name in BASELINES},
    }


def write_rows(path: Path, rows: Iterable[ItemResult]) -> None:
    """A jsonl file with a line for each row; whole, or not at all."""

    with replace_file(path) as partial, partial.open("w") as file:
        file.writelines(json.dumps(row.to_json()) + "\n" for row in rows)


def read_rows(path: Path) -> list[ItemResult]:
    """What `write_rows` wrote. EvaluationError for anything else."""

    try:
        return [ItemResult(**json.loads(line)) for line in path.read_text().splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise EvaluationError(f"{path}: no results of an evaluation ({error}); run argenseg evaluate again") from error


def _measure(item: ManifestItem, answer: Any, trivial: dict[str, np.ndarray]) -> ItemResult:
    truth, mask = item.decode_mask(), np.asarray(answer.mask, bool)
    true_count, true_objects, stats, _ = cv2.connectedComponentsWithStats(truth.astype(np.uint8))
    found = match_instances(cv2.connectedComponents(mask.astype(np.uint8))[1], true_objects)
    median = float(np.median(stats[1:, cv2.CC_STAT_AREA])) if true_count > 1 else 0.0
    size = next(name for name, below in SIZES.items() if median < below) if median else "absent"
    return ItemResult(
        image=item.image,
        group=item.group,
        prompt=item.prompt,
        label=item.label,
        source=item.source,
        area=int(truth.sum()),
        size=size,
        drawn=int(mask.sum()),
        intersection=int((mask & truth).sum()),
        union=int((mask | truth).sum()),
        iou=iou(mask, truth),
        boundary_iou=boundary_iou(mask, truth),
        matched=found.matched,
        predicted=found.predicted,
        actual=found.actual,
        score=float(answer.score),
        baselines={name: iou(guess, truth) for name, guess in trivial.items()},
    )


def _trivial_answers(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Masks (H, W) that need no model, by the names of `BASELINES`."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1] > 0
    return dict(zip(BASELINES, (bright, ~bright, np.ones_like(bright), np.zeros_like(bright)), strict=True))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
