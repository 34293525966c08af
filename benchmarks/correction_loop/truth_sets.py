"""Data sets of the loop's images without Label Studio: for the control and the ceiling."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from argenseg_model.manifest import Manifest, ManifestItem, Split, encode_mask
from benchmarks.correction_loop.annotator import Mask, draw_by_hand
from benchmarks.correction_loop.images import Plan, TruthImage
from benchmarks.correction_loop.measurement import LABEL, PROMPT


def draw_masks(plan: Plan, seed: int) -> dict[str, Mask]:
    """The mask (H, W) of each image's nuclei, as the simulated annotator draws them, by the image's id."""
    return {image.id: _draw(image, number + seed) for number, image in enumerate([*plan.holdout, *plan.train])}


def write_set(folder: Path, plan: Plan, masks: dict[str, Mask]) -> Manifest:
    """A manifest with its images beside it; sides as in the plan."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    items = [*_items(folder, plan.train, "train", masks), *_items(folder, plan.holdout, "holdout", masks)]
    return Manifest.write(folder / "manifest.jsonl", items)


def _items(folder: Path, images: Iterable[TruthImage], split: Split, masks: dict[str, Mask]) -> Iterable[ManifestItem]:
    for image in images:
        (folder / "images" / image.path.name).write_bytes(image.path.read_bytes())
        mask = masks[image.id]
        yield ManifestItem(
            image=f"images/{image.path.name}", width=mask.shape[1], height=mask.shape[0], prompt=PROMPT,
            mask=encode_mask(mask), weight=1.0, split=split, source=f"correction:{image.id}", label=LABEL,
            group=image.id,
        )  # fmt: skip


def _draw(image: TruthImage, seed: int) -> Mask:
    rng, truth = np.random.default_rng(seed), image.instances()
    return np.any([draw_by_hand(truth == nucleus, rng) for nucleus in np.unique(truth[truth > 0])], axis=0)
