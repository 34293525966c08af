"""From the masks of one task to a prediction that Label Studio takes, checked before it is sent."""

import math
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import LabelConfigError, RegionError
from labeling.prompts.label_config import LabelConfig
from labeling.regions import brush_rle
from labeling.regions.brush import brush_region

if TYPE_CHECKING:
    from label_studio_sdk.label_interface.interface import LabelInterface

_MAX_ERRORS = 3
_MAX_ERROR_CHARACTERS = 200  # the SDK's own ones quote whole run lengths


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


def validate_prediction(prediction: Prediction, config: LabelConfig) -> None:
    """Refuse, with RegionError, what Label Studio would store but show wrongly or not at all: its API checks nothing.

    Checked are ids, sizes, scores, tags and labels, that every mask can be read, is not empty and is opaque (255)
    somewhere; then label-studio-sdk's own rules.
    """
    errors = [
        f"region {index}: {error}"
        for index, region in enumerate(prediction.result)
        for error in _region_errors(region, config)
    ]
    ids = [region["id"] for region in prediction.result if "id" in region]
    errors += ["two regions have the same id"] if len(set(map(str, ids))) < len(ids) else []
    errors += [] if _is_score(prediction.score) else [f"the score {prediction.score} is not from 0 to 1"]
    errors = errors or _label_interface(config.xml).validate_prediction(prediction.to_json(), return_errors=True)  # type: ignore[no-untyped-call]
    if errors:
        cut = [error[:_MAX_ERROR_CHARACTERS] for error in errors[:_MAX_ERRORS]]
        raise RegionError(f"The prediction does not fit the label config: {'; '.join(cut)}.")


def _region_errors(region: dict[str, Any], config: LabelConfig) -> Iterator[str]:
    brush, value = config.brush, region.get("value")
    if not isinstance(region.get("id"), str) or not region["id"]:
        yield "it has no id"
    if not _is_score(region.get("score")):
        yield f"its score {region.get('score')} is not from 0 to 1"
    tag = tuple(region.get(key) for key in ("from_name", "to_name", "type"))
    if tag != (brush.name, brush.to_name, brush.type):
        yield f"its from_name, to_name and type {tag} are not those of <BrushLabels name={brush.name!r}>"
    if not isinstance(value, dict) or value.get("format") != "rle":
        yield "it holds no brush mask"
        return
    labels, known = value.get(brush.type, []), [item.label for item in brush.labels]
    if not isinstance(labels, list) or bool(labels) != bool(known) or not all(label in known for label in labels):
        yield f"its labels {labels} are not in the label config"
    width, height = region.get("original_width"), region.get("original_height")
    if type(width) is not int or type(height) is not int:
        yield "original_width and original_height must be whole numbers"
        return
    try:
        mask = brush_rle.decode(value.get("rle", []), width, height)
    except RegionError as error:
        yield str(error)
    else:
        if mask.max() < 255:
            yield "nothing in its mask reaches 255, so it is empty or cannot be seen"


def _is_score(score: Any) -> bool:
    return score is None or (isinstance(score, int | float) and math.isfinite(score) and 0 <= score <= 1)


@lru_cache(maxsize=64)
def _label_interface(xml: str) -> "LabelInterface":
    """`xml` is parsed by lxml, which expands entities: it must come from `parse_label_config`, where there are none."""
    from label_studio_sdk.label_interface.interface import LabelInterface  # takes a second; the web process needs none

    try:
        return LabelInterface(xml)
    except Exception as error:  # it raises whatever it stumbles over
        raise LabelConfigError(f"label-studio-sdk cannot read the label config: {error}.") from error
