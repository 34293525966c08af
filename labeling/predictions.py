"""From the masks of one task to a prediction that Label Studio takes, checked before it is sent."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions.brush import brush_region


@dataclass(frozen=True)
class PredictedMask:
    """What the model answered to one prompt. `mask` is bool (height, width), `score` 0..1."""

    label: str | None
    prompt: str
    from_name: str
    to_name: str
    region_type: str
    mask: NDArray[np.bool_]
    score: float


@dataclass(frozen=True)
class PredictedRegion:
    """A region of a prediction with the mask it was made from: what a correction is later compared with."""

    region_id: str
    label: str | None
    prompt: str
    score: float
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Prediction:
    """A task's prediction. `result` holds Label Studio regions, `regions` the masks behind them, in the same order."""

    result: list[dict[str, Any]]
    score: float | None
    model_version: str
    regions: tuple[PredictedRegion, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The dict that Label Studio stores: an item of /predict's results, or the body of POST /api/predictions/."""
        return {"result": self.result, "score": self.score, "model_version": self.model_version}


def build_prediction(masks: Sequence[PredictedMask], model_version: str, width: int, height: int) -> Prediction:
    """Turn masks of an image of `width` x `height` px (upright) into a prediction; empty masks give no region.

    The prediction's score is the mean of its regions' (None without regions). RegionError if a mask has another size.
    """
    result, regions = [], []
    for item in masks:
        if item.mask.shape != (height, width):
            raise RegionError(f"The mask of {item.prompt!r} is {item.mask.shape}, the image is {(height, width)}.")
        if not item.mask.any():
            continue
        region_id = uuid.uuid4().hex[:12]  # Label Studio overwrites a region whose id it has seen in the task
        score = min(max(float(item.score), 0.0), 1.0)
        result.append(
            brush_region(
                item.mask,
                label=item.label,
                from_name=item.from_name,
                to_name=item.to_name,
                region_type=item.region_type,
                score=score,
                region_id=region_id,
            )
        )
        regions.append(PredictedRegion(region_id, item.label, item.prompt, score, item.mask))
    score_mean = float(np.mean([region.score for region in regions])) if regions else None
    return Prediction(result, score_mean, model_version, tuple(regions))
