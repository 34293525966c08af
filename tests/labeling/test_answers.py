"""From answers to a prediction: whose masks are joined, taken away, split, left out, and with which score."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import labeling.answers
from labeling.answers import build_answer, image_window, questions, second_window
from labeling.errors import LabelingError
from labeling.predictions import Prediction
from labeling.prompts.focus import Box, Focus, Point
from labeling.prompts.interaction import Interaction
from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.prompts.plan import PromptPlan, plan_prompts
from labeling.regions import brush_rle
from labeling.regions.kinds import KINDS, MAX_REGIONS, region_mask

Mask = NDArray[np.bool_]
SHAPE = (24, 32)


@dataclass(frozen=True)
class Found:
    mask: Mask
    score: float


def part(top: int, left: int, height: int, width: int, score: float = 0.9) -> Found:
    mask = np.zeros(SHAPE, np.bool_)
    mask[top : top + height, left : left + width] = True
    return Found(mask, score)


NOTHING = Found(np.zeros(SHAPE, np.bool_), 0.8)


def config_of(labels: str, kind: str = "BrushLabels", **attributes: str) -> LabelConfig:
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    tag = f'<{kind} name="tag" toName="image"{more}>{labels}</{kind}>'
    return parse_label_config(f'<View><Image name="image" value="$image"/>{tag}</View>')


def predict(config: LabelConfig, answers: Mapping[str, Found], asked: Interaction | None = None) -> Prediction:
    plan = plan_prompts(config, {}, asked)
    assert set(questions(plan)) == set(answers)
    return build_answer(plan, config, answers, "v1")


def summary(prediction: Prediction) -> list[tuple[str | None, str, int, float]]:
    return [(each.label, each.prompt, int(each.mask.sum()), round(each.score, 3)) for each in prediction.regions]


CAR = '<Label value="car" prompt="a car; a van" exclude="a toy"/>'


def test_each_question_is_asked_once() -> None:
    config = config_of(CAR + '<Label value="toy" prompt="A toy."/><Label value="van" prompt="a VAN; lorry"/>')
    assert questions(plan_prompts(config, {})) == ("a car", "a toy", "a van", "lorry")


def test_nothing_to_ask() -> None:
    with pytest.raises(LabelingError, match="nothing to look for"):
        questions(PromptPlan(()))


def test_prompts_that_sound_alike_share_an_answer() -> None:
    config = config_of('<Label value="a" prompt="a cell"/><Label value="b" prompt="A Cell."/>')
    prediction = predict(config, {"a cell": part(0, 0, 4, 4)})
    assert summary(prediction) == [("a", "a cell", 16, 0.9), ("b", "A Cell.", 16, 0.9)]


def test_a_label_is_all_its_prompts_find_less_what_is_excluded() -> None:
    answers = {"a car": part(0, 0, 4, 4, 0.9), "a van": part(2, 0, 6, 4, 0.6), "a toy": part(0, 3, 24, 29)}
    prediction = predict(config_of(CAR), answers)
    # 12 px by the car, 12 more by the van only, which holds 18 of the 24
    assert summary(prediction) == [("car", "a van", 24, 0.75)]
    assert prediction.score == pytest.approx(0.75)


def test_answers_below_the_threshold_are_left_out() -> None:
    answers = {"a car": part(0, 0, 4, 4, 0.69), "a van": part(8, 0, 4, 4, 0.7), "a toy": part(0, 0, 24, 32, 0.3)}
    prediction = predict(config_of(CAR, model_score_threshold="0.7"), answers)
    assert summary(prediction) == [("car", "a van", 16, 0.7)]


def test_the_predictions_score_is_that_of_its_least_certain_region() -> None:
    config = config_of('<Label value="a"/><Label value="b"/><Label value="c"/>')
    prediction = predict(
        config, {"a": part(0, 0, 4, 4, 0.9), "b": part(8, 0, 4, 4, 0.4), "c": Found(NOTHING.mask, 0.1)}
    )
    assert prediction.score == 0.4


def test_a_prediction_without_regions_has_the_score_of_its_least_certain_answer() -> None:
    answers = {"a car": Found(NOTHING.mask, 0.7), "a van": NOTHING, "a toy": Found(NOTHING.mask, 0.1)}
    assert predict(config_of(CAR), answers).to_json() == {"result": [], "score": 0.7, "model_version": "v1"}
    doubtful = {"a car": part(0, 0, 4, 4, 0.2), "a van": NOTHING, "a toy": NOTHING}
    assert predict(config_of(CAR, model_score_threshold="0.5"), doubtful).score == 0.2


TWO = Found(part(0, 0, 4, 4).mask | part(10, 10, 5, 5).mask | part(20, 30, 1, 1).mask, 0.9)


@pytest.mark.parametrize(
    ("kind", "attributes", "areas"),
    [
        ("BrushLabels", {}, [42]),
        ("BrushLabels", {"min_area": "2"}, [41]),
        ("BrushLabels", {"min_area": "17"}, [25]),
        ("BrushLabels", {"min_area": "26"}, []),
        ("BrushLabels", {"instances": "true", "min_area": "2"}, [16, 25]),
        ("BitmaskLabels", {"instances": "true"}, [16, 25, 1]),
        ("PolygonLabels", {"min_area": "2", "tolerance": "0"}, [16, 25]),
        ("VectorLabels", {"min_area": "2", "tolerance": "0"}, [16, 25]),
        ("RectangleLabels", {"min_area": "2"}, [16, 25]),
    ],
)
def test_objects(kind: str, attributes: dict[str, str], areas: list[int]) -> None:
    prediction = predict(config_of('<Label value="a"/>', kind, **attributes), {"a": TWO})
    assert [area for _, _, area, _ in summary(prediction)] == areas
    assert [int(region_mask(region).sum()) for region in prediction.result] == areas
    assert len({region["id"] for region in prediction.result}) == len(areas)


def test_objects_have_scores_and_prompts_of_their_own() -> None:
    answers = {"a": part(0, 0, 4, 4, 0.9), "b": part(10, 0, 4, 4, 0.3)}
    prediction = predict(config_of('<Label value="x" prompt="a; b"/>', instances="true"), answers)
    assert summary(prediction) == [("x", "a", 16, 0.9), ("x", "b", 16, 0.3)]
    assert prediction.score == pytest.approx(0.3)


def test_of_too_many_objects_the_largest_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[::2, ::2] = True  # 2500 single pixels
    mask[50:60, 50:60] = True
    config = config_of('<Label value="a"/>', "RectangleLabels")
    prediction = build_answer(plan_prompts(config, {}), config, {"a": Found(mask, 0.9)}, "v1")
    assert len(prediction.result) == MAX_REGIONS and prediction.regions[-1].mask.shape == (100, 100)
    assert max(int(region.mask.sum()) for region in prediction.regions) >= 100
    assert "1000 largest are kept" in caplog.text


def crowd(count: int) -> Mask:
    """Squares of 20 x 20 px on 3000 x 4000 px; the first ones have a pixel more."""
    mask = np.zeros((3000, 4000), np.bool_)
    for index in range(count):
        top, left = index // 80 * 50 + 7, index % 80 * 50 + 7
        mask[top : top + 20, left : left + 20] = True
        mask[top + 20, left] = index < 10
    return mask


def build_crowd(kind: str, count: int) -> Prediction:
    config = config_of('<Label value="a"/>', kind, instances="true")
    return build_answer(plan_prompts(config, {}), config, {"a": Found(crowd(count), 0.9)}, "v1")


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels"])
def test_of_too_many_masks_the_smallest_share_one(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A browser makes a picture of the image's size of each; but no pixel is lost."""
    prediction = build_crowd(kind, 100)
    most = 83 if kind == "BrushLabels" else 16
    areas = [int(region.shape.crop.sum()) for region in prediction.regions]
    assert sorted(areas) == [400] * (most - 11) + [401] * 10 + [(101 - most) * 400]
    union = np.zeros((3000, 4000), np.bool_)
    for region in prediction.regions:
        union[region.shape.window] |= region.shape.crop
    assert np.array_equal(union, crowd(100))
    assert "share a region" in caplog.text


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels", "PolygonLabels", "RectangleLabels"])
def test_objects_of_a_large_image_cost_little_each(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All urgent tasks wait while a prediction is made: an object must cost its own pixels, not the image's."""
    monkeypatch.setattr(labeling.answers, "most_regions", lambda *_: MAX_REGIONS)

    def seconds(count: int) -> float:
        began = time.process_time()
        assert len(build_crowd(kind, count).result) == count
        return time.process_time() - began

    seconds(1)  # imports
    assert (min(seconds(300), seconds(300)) - min(seconds(1), seconds(1))) / 300 < 0.015


def test_what_was_just_drawn_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brush_rle, "decode_runs", None)
    assert summary(predict(config_of('<Label value="a"/>'), {"a": TWO})) == [("a", "a", 42, 0.9)]


def test_overlaps_go_to_the_most_certain_label() -> None:
    labels = '<Label value="a"/><Label value="b"/><Label value="c" overlaps="keep"/>'
    answers = {"a": part(0, 0, 8, 8, 0.5), "b": part(4, 0, 8, 8, 0.9), "c": part(0, 0, 24, 32, 0.1)}
    assert summary(predict(config_of(labels, overlaps="score"), answers)) == [
        ("a", "a", 32, 0.5),
        ("b", "b", 64, 0.9),
        ("c", "c", 24 * 32, 0.1),
    ]
    assert [area for _, _, area, _ in summary(predict(config_of(labels), answers))] == [64, 64, 24 * 32]
    swallowed = {**answers, "a": part(4, 0, 4, 4, 0.5)}
    assert [label for label, *_ in summary(predict(config_of(labels, overlaps="score"), swallowed))] == ["b", "c"]


def test_of_masks_that_are_about_the_same_only_the_most_certain_is_kept_where_that_is_wanted() -> None:
    labels = '<Label value="a"/><Label value="b"/><Label value="c" overlaps="keep"/>'
    answers = {"a": part(0, 0, 8, 8, 0.5), "b": part(1, 0, 8, 8, 0.9), "c": part(1, 0, 8, 8, 0.1)}
    drawn = summary(predict(config_of(labels, overlaps="best"), answers))
    assert [label for label, *_ in drawn] == ["b", "c"]
    apart = {**answers, "a": part(5, 0, 8, 8, 0.5)}
    assert [label for label, *_ in summary(predict(config_of(labels, overlaps="best"), apart))] == ["a", "b", "c"]


def test_a_box_and_a_point_show_what_they_mean_whatever_its_score() -> None:
    config = config_of('<Label value="a"/><Label value="b"/>', model_score_threshold="0.95")
    boxed = predict(config, {"a": TWO}, Interaction(focus=Focus((Box(0, 0, 46.9, 75),)), label="a"))
    assert summary(boxed) == [("a", "a", 16 + 25, 0.9)]
    cutting = predict(config, {"a": TWO}, Interaction(focus=Focus((Box(20, 35, 30, 20),)), label="a"))
    assert summary(cutting) == [("a", "a", 5 * 3, 0.9)]  # of the only object in it what is in the box
    pointed = predict(config, {"a": TWO}, Interaction(focus=Focus(points=(Point(37, 50),)), label="a"))
    assert summary(pointed) == [("a", "a", 25, 0.9)]


def test_an_object_under_a_point_that_goes_on_is_looked_at_again() -> None:
    config = config_of('<Label value="a"/>')
    window = (204, 84, 396, 276)  # 96 px around the point

    def again(focus: Focus, top: int, left: int, bottom: int, right: int) -> object:
        mask = np.zeros((360, 600), np.bool_)
        mask[top:bottom, left:right] = True
        plan = plan_prompts(config, {}, Interaction(focus=focus, label="a"))
        asked = image_window(plan, 600, 360)
        return second_window(plan, {"a": Found(mask, 0.9)}, asked)

    point = Focus(points=(Point(50, 50),))
    assert image_window(plan_prompts(config, {}, Interaction(focus=point, label="a")), 600, 360) == window
    assert again(point, 150, 280, 200, 396) == (204, 84, 600, 276)
    assert again(point, 150, 280, 200, 390) is None  # all of it was seen
    assert again(point, 90, 380, 110, 396) is None  # another object goes on
    assert again(point, 150, 280, 200, 500) is None  # the model looked at the whole image
    assert again(Focus((Box(40, 40, 20, 20),)), 130, 230, 232, 376) is None  # no more than the box is meant
    assert second_window(plan_prompts(config, {}), {"a": NOTHING}, None) is None


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 1)), min_size=3, max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "instances": st.just("true"),
            "min_area": st.sampled_from(["3", "12"]),
            "tolerance": st.sampled_from(["0", "3"]),
            "model_score_threshold": st.just("0.4"),
            "overlaps": st.sampled_from(["score", "best"]),
            "exclude": st.just("p1"),
        },
    ),
)
def test_any_answers_make_a_valid_prediction(
    kind: str, answers: list[tuple[int, float]], attributes: dict[str, str]
) -> None:
    """`build_answer` validates what it returns; and outside the outlines that may move, nothing is made up."""
    labels = '<Label value="a" prompt="p0; p1"/><Label value="b" prompt="p2"/>' if kind.endswith("labels") else ""
    config = config_of(labels, kind, **({} if labels else {"prompt": "p0; p1; p2"}), **attributes)
    found = {
        f"p{index}": Found(np.random.default_rng(seed).random((7, 9)) < 0.4, score)
        for index, (seed, score) in enumerate(answers)
    }
    prediction = build_answer(plan_prompts(config, {}), config, found, "v1")
    assert prediction.score is not None and 0 <= prediction.score <= 1
    union = np.logical_or.reduce([answer.mask for answer in found.values()])
    for region, kept in zip(prediction.result, prediction.regions, strict=True):
        assert np.array_equal(region_mask(region), kept.mask)
        if kind.startswith(("brush", "bitmask")):
            assert not (kept.mask & ~union).any()
