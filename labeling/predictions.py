"""From the masks of one task to a prediction that Label Studio takes, checked before it is sent."""

import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.prompts.label_config import LabelConfig
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.kinds import draw_cropped, region_dict, region_shape

_MAX_ERRORS = 3
_MAX_ERROR_CHARACTERS = 200  # they quote what they found


@dataclass(frozen=True)
class PredictedMask:
    """An object that the model found. `shape` is its mask, `score` 0..1, `prompt` the one that found it.

    `region_type` is the kind of region to draw, `tolerance` how far a polygon's outline may move (px).
    """

    label: str | None
    prompt: str
    from_name: str
    to_name: str
    region_type: str
    shape: CroppedMask
    score: float
    tolerance: float = 1.0


@dataclass(frozen=True)
class PredictedRegion:
    """A region of a prediction with the mask that it encodes: what a correction is later compared with."""

    region_id: str
    label: str | None
    prompt: str
    score: float
    shape: CroppedMask

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Bool (height, width)."""
        return self.shape.full()


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


def build_prediction(
    masks: Iterable[PredictedMask], model_version: str, width: int, height: int, *, empty_score: float | None = None
) -> Prediction:
    """Draw the masks of an image of `width` x `height` px (upright) as regions; an empty mask gives none.

    The prediction's score is that of its least certain region, or `empty_score` if it has none: Label Studio's
    uncertainty sampling shows the tasks with the lowest scores first. RegionError if a mask has another size.
    """
    result, regions = [], []
    for item in masks:
        size = item.shape.height, item.shape.width
        if size != (height, width):
            raise RegionError(f"The mask of {item.prompt!r} is {size}, the image is {(height, width)}.")
        score = min(max(float(item.score), 0.0), 1.0)
        for drawn in draw_cropped(item.region_type, item.shape, tolerance=item.tolerance):
            region_id = uuid.uuid4().hex[:12]  # Label Studio overwrites a region whose id it has seen in the task
            result.append(
                region_dict(
                    drawn,
                    kind=item.region_type,
                    label=item.label,
                    from_name=item.from_name,
                    to_name=item.to_name,
                    score=score,
                    region_id=region_id,
                )
            )
            regions.append(PredictedRegion(region_id, item.label, item.prompt, score, drawn.shape))
    lowest = min((region.score for region in regions), default=empty_score)
    return Prediction(result, lowest, model_version, tuple(regions))


def validate_prediction(prediction: Prediction, config: LabelConfig) -> None:
    """Refuse, with RegionError, what Label Studio would store but show wrongly or not at all: its API checks nothing.

    Checked are ids, sizes, scores, tags and labels, and that every mask can be read and is not empty. The mask of a
    region that is still at hand in `regions` is not read again.
    """
    drawn = {region.region_id: region.shape for region in prediction.regions}
    errors = [
        f"region {index}: {error}"
        for index, region in enumerate(prediction.result)
        for error in _region_errors(region, config, drawn)
    ]
    ids = [region["id"] for region in prediction.result if "id" in region]
    errors += ["two regions have the same id"] if len(set(map(str, ids))) < len(ids) else []
    errors += [] if _is_score(prediction.score) else [f"the score {prediction.score} is not from 0 to 1"]
    if errors:
        cut = [error[:_MAX_ERROR_CHARACTERS] for error in errors[:_MAX_ERRORS]]
        raise RegionError(f"The prediction does not fit the label config: {'; '.join(cut)}.")


def _region_errors(region: dict[str, Any], config: LabelConfig, drawn: Mapping[str, CroppedMask]) -> Iterator[str]:
    control, value = config.control(region.get("from_name")), region.get("value")
    if not isinstance(region.get("id"), str) or not region["id"]:
        yield "it has no id"
    if not _is_score(region.get("score")):
        yield f"its score {region.get('score')} is not from 0 to 1"
    if control is None or (region.get("to_name"), region.get("type")) != (control.to_name, control.type):
        tag = tuple(region.get(key) for key in ("from_name", "to_name", "type"))
        yield f"its from_name, to_name and type {tag} are those of no tag that predictions are drawn with"
        return
    labels = value.get(control.type, []) if isinstance(value, dict) else None
    known = [item.label for item in control.labels if item.label is not None]
    if (
        not isinstance(labels, list)
        or bool(labels) != control.has_labels
        or not all(label in known for label in labels)
    ):
        yield f"its labels {labels} are not in the label config"
    try:
        shape = drawn.get(str(region.get("id"))) or region_shape(region)
    except RegionError as error:
        yield str(error)
    else:
        if shape.is_empty:
            yield "its mask is empty, or too faint to be seen"


def _is_score(score: Any) -> bool:
    return score is None or (isinstance(score, int | float) and math.isfinite(score) and 0 <= score <= 1)
