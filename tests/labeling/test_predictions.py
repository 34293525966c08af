import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface.interface import LabelInterface

from labeling.errors import RegionError
from labeling.predictions import PredictedMask, Prediction, build_prediction, validate_prediction
from labeling.prompts.label_config import parse_label_config
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.kinds import region_mask

PLAIN = '<View><Image name="image" value="$image"/><Brush name="brush" toName="image"/></View>'


@pytest.fixture
def config(recorded):
    return parse_label_config(recorded("requests/setup")["json"]["schema"])


def test_masks_become_regions_with_ids_of_their_own(square, predict) -> None:
    prediction = predict(square, ~square)
    assert [region["id"] for region in prediction.result] == [region.region_id for region in prediction.regions]
    assert len({region.region_id for region in [*prediction.regions, *predict(square, ~square).regions]}) == 4
    for region, source in zip(prediction.result, prediction.regions, strict=True):
        assert np.array_equal(region_mask(region), source.mask)
        assert region["value"]["brushlabels"] == ["red"]
    assert prediction.to_json() == {"result": prediction.result, "score": pytest.approx(0.9), "model_version": "v1"}


def test_an_empty_mask_gives_no_region(square, predict) -> None:
    assert len(predict(square, np.zeros_like(square)).result) == 1
    assert predict(np.zeros_like(square)).to_json() == {"result": [], "score": None, "model_version": "v1"}


def test_the_score_is_that_of_the_least_certain_region(square) -> None:
    masks = [
        PredictedMask("red", "p", "brush", "image", "brushlabels", CroppedMask.of(square), score)
        for score in (0.5, 1.25)
    ]
    prediction = build_prediction(masks, "v1", 16, 12)
    assert (prediction.score, [region["score"] for region in prediction.result]) == (0.5, [0.5, 1.0])
    assert build_prediction([], "v1", 16, 12, empty_score=0.3).score == 0.3


def test_a_mask_may_be_several_regions(square) -> None:
    square[10:, 12:] = True
    mask = PredictedMask("red", "p", "poly", "image", "polygonlabels", CroppedMask.of(square), 0.5, tolerance=0.0)
    prediction = build_prediction([mask], "v1", 16, 12)
    assert [region.mask.sum() for region in prediction.regions] == [25, 8]
    assert [region["value"]["polygonlabels"] for region in prediction.result] == [["red"], ["red"]]


def test_a_mask_of_another_size_is_refused(square) -> None:
    mask = PredictedMask("red", "p", "brush", "image", "brushlabels", CroppedMask.of(square), 0.5)
    with pytest.raises(RegionError, match=r"\(12, 16\)"):
        build_prediction([mask], "v1", 12, 16)


def test_what_we_build_is_valid(square, predict, config) -> None:
    validate_prediction(predict(square, ~square), config)
    validate_prediction(predict(np.zeros_like(square)), config)


def test_a_plain_brush_is_valid(square) -> None:
    mask = PredictedMask(None, "p", "brush", "image", "brush", CroppedMask.of(square), 0.5)
    validate_prediction(build_prediction([mask], "v1", 16, 12), parse_label_config(PLAIN))


KIND_OF = {
    "brush255": "BrushLabels",
    "bitmask_rgba": "BitmaskLabels",
    "poly": "PolygonLabels",
    "vector": "VectorLabels",
    "rect": "RectangleLabels",
}


@pytest.mark.parametrize(("name", "kind"), KIND_OF.items())
def test_a_recorded_region_is_valid(recorded, name: str, kind: str) -> None:
    region = recorded("regions")[name]
    tag = f'<{kind} name="{region["from_name"]}" toName="image"><Label value="red"/><Label value="blue"/></{kind}>'
    config = parse_label_config(f'<View><Image name="image" value="$image"/>{tag}</View>')
    validate_prediction(Prediction([region], 0.91, "v1"), config)


REFUSED = {
    "brush1": "too faint",
    "brush_empty": "empty",
    "brush_no_id": "no id",
    "brush_no_dims": "whole numbers",
    "bad_label": "labels",
    "bad_from_name": "from_name",
    "bad_type": "type",
    "bad_rle": "list of whole numbers",
    "rect_oob": "from_name",
    "poly": "from_name",
    "bitmask_gray": "from_name",
}


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_recorded_invalid_regions_are_refused(recorded, config, name: str, reason: str) -> None:
    with pytest.raises(RegionError, match=reason) as refusal:
        validate_prediction(Prediction([recorded("regions")[name]], None, "v1"), config)
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": 5},
        {"original_width": 0},
        {"original_width": 639},
        {"original_width": True},
        {"score": 1.5},
        {"score": float("nan")},
        {"score": "0.5"},
        {"to_name": "other"},
        {"value": None},
        {"value": {"format": "png", "rle": [], "brushlabels": ["red"]}},
    ],
    ids=str,
)
def test_a_broken_region_is_refused(recorded, config, change: dict[str, Any]) -> None:
    region = {**recorded("regions")["brush255"], **change}
    with pytest.raises(RegionError):
        validate_prediction(Prediction([region], None, "v1"), config)


@pytest.mark.parametrize("labels", [None, [], ["red", "nope"], "red", [["red"]], 7], ids=str)
def test_labels_must_be_the_configs(recorded, config, labels: object) -> None:
    region = copy.deepcopy(recorded("regions")["brush255"])
    region["value"]["brushlabels"] = labels
    with pytest.raises(RegionError, match="labels"):
        validate_prediction(Prediction([region], None, "v1"), config)


def test_ids_must_be_unique(recorded, config) -> None:
    region = recorded("regions")["brush255"]
    with pytest.raises(RegionError, match="same id"):
        validate_prediction(Prediction([region, region], None, "v1"), config)


@pytest.mark.parametrize("score", [-0.1, 1.1, float("inf")])
def test_the_score_must_be_from_0_to_1(config, score: float) -> None:
    with pytest.raises(RegionError, match="score"):
        validate_prediction(Prediction([], score, "v1"), config)


GONE = object()
NAMES = st.sampled_from([GONE, "brush", "image", "brushlabels", "polygonlabels", "red", 7])
CHANGES = st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "from_name", "to_name", "type", "value"), NAMES))
LABELS = st.sampled_from([["red"], ["blue"], ["red", "blue"], ["nope"], [""], [], None, "red"])
SCORES = st.sampled_from([None, 0, 0.5, 1, -0.1, 1.1, "0.5", [], float("nan")])


@given(CHANGES, LABELS, SCORES)
def test_what_label_studio_sdk_refuses_is_refused(recorded, changes: dict[str, Any], labels: Any, score: Any) -> None:
    """It is the judge of our rules, which are its own and more."""
    region, schema = copy.deepcopy(recorded("regions")["brush255"]), recorded("requests/setup")["json"]["schema"]
    region["value"]["brushlabels"] = labels
    region = {name: value for name, value in {**region, **changes}.items() if value is not GONE}
    prediction = Prediction([region], score, "v1")
    if LabelInterface(schema).validate_prediction(prediction.to_json(), return_errors=True):
        with pytest.raises(RegionError) as refusal:
            validate_prediction(prediction, parse_label_config(schema))
        assert len(str(refusal.value)) < 1000
