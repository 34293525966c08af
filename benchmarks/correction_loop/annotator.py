"""A simulated annotator: knows the truth, and corrects what it is shown as people do: only where it is worth a stroke.

- A predicted region that overlaps a nucleus well (IoU >= 0.8) is left alone: people agree no better on small nuclei.
- One that found a nucleus but not its outline (IoU >= 0.5) is redrawn; any other is deleted; missed nuclei are drawn.
- No hand is exact: what is drawn is the truth with an outline that wavers by 0.6 px (standard deviation).
- `seconds` are a stated model of the work, not a measurement; they are here because Label Studio asks for a lead time.
"""

import uuid
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter

from argenseg_model.metrics import iou
from benchmarks.correction_loop.images import Instances
from labeling.corrections.matching import match_regions
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.kinds import draw_regions, region_dict, region_mask

ACCEPTED_IOU = 0.8
WAVER_PX = 0.6
_WAVE_LENGTH_PX = 3.0  # correlation length of the waver along the outline
_SECONDS = {"opened": 4.0, "looked at": 0.3, "edited": 5.0, "deleted": 1.0, "added": 6.0}

Mask = NDArray[np.bool_]
Region = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """What an image cost: regions by what became of them, pixels that differ between before and after, seconds."""

    accepted: int
    edited: int
    deleted: int
    added: int
    changed_pixels: int
    nuclei_pixels: int
    seconds: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def correct(
    regions: list[Region], truth: Instances, tag: Region, rng: np.random.Generator
) -> tuple[list[Region], Effort]:
    """The regions as they are submitted, and what that cost. `tag`: from_name, to_name, kind, label."""
    shown = [region_mask(region) for region in regions]
    nuclei = [truth == number for number in np.unique(truth[truth > 0])]
    predicted, drawn = ([(None, CroppedMask.of(mask)) for mask in masks] for masks in (shown, nuclei))
    pairs = dict(match_regions(predicted, drawn))
    result, after = [], np.zeros(truth.shape, bool)
    counts = {"accepted": 0, "edited": 0, "deleted": len(regions) - len(pairs), "added": len(nuclei) - len(pairs)}
    for row, column in pairs.items():
        mask, region = shown[row], regions[row]
        if iou(mask, nuclei[column]) >= ACCEPTED_IOU:
            counts["accepted"] += 1
            result.append(region | {"origin": "prediction"})
        else:
            counts["edited"] += 1
            mask = draw_by_hand(nuclei[column], rng)
            result.append(_region(mask, tag, region["id"], region["score"]) | {"origin": "prediction-changed"})
        after |= mask
    for column in sorted(set(range(len(nuclei))) - set(pairs.values())):
        mask = draw_by_hand(nuclei[column], rng)
        result.append(_region(mask, tag, uuid.UUID(bytes=rng.bytes(16)).hex[:10], None) | {"origin": "manual"})
        after |= mask
    before = np.any(shown, axis=0) if shown else np.zeros_like(after)
    seconds = _SECONDS["opened"] + _SECONDS["looked at"] * len(regions)
    seconds += sum(_SECONDS[kind] * counts[kind] for kind in ("edited", "deleted", "added"))
    changed = int(np.count_nonzero(before != after))
    return result, Effort(**counts, changed_pixels=changed, nuclei_pixels=int((truth > 0).sum()), seconds=seconds)


def draw_by_hand(nucleus: Mask, rng: np.random.Generator) -> Mask:
    """A nucleus (H, W) with an outline that wavers; never empty."""
    window = tuple(slice(max(0, side.start - 4), side.stop + 4) for side in find_objects(nucleus.astype(np.uint8))[0])
    crop = nucleus[window]
    inside = distance_transform_edt(crop) - distance_transform_edt(~crop)
    waver = gaussian_filter(rng.standard_normal(crop.shape), _WAVE_LENGTH_PX)
    waver *= WAVER_PX / max(float(waver.std()), 1e-9)
    drawn = np.zeros_like(nucleus)
    drawn[window] = np.where(inside > 0, inside - 0.5, inside + 0.5) > waver
    return drawn if drawn.any() else nucleus


def _region(mask: Mask, tag: Region, region_id: str, score: float | None) -> Region:
    (drawn,) = draw_regions(tag["kind"], mask)
    return region_dict(drawn, region_id=region_id, score=score, **tag)
