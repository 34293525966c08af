import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.prompts.focus import Box, Focus, Point
from labeling.prompts.interaction import Interaction, read_interaction
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import PromptPlan, plan_prompts

CONFIG = parse_label_config(
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image"><Label value="red"/>'
    '<Label value="blue" prompt="a blue box"/></BrushLabels><KeyPointLabels name="kp" toName="image" smart="true">'
    '<Label value="red"/></KeyPointLabels><TextArea name="prompt" toName="image"/></View>'
)


def point(x: float, y: float, label: str = "red", **fields: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.2, "labels": [label], "keypointlabels": [label]}
    return {"type": "keypointlabels", "from_name": "kp", "to_name": "image", "value": value, **fields}


def box(x: Any, y: Any, width: Any, height: Any, label: str | None = "red") -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    kind = "rectanglelabels" if label else "rectangle"
    value |= {"rectanglelabels": [label]} if label else {}
    return {"type": kind, "from_name": "box", "to_name": "image", "value": value}


def text(*texts: Any, tag: str = "prompt") -> dict[str, Any]:
    return {"type": "textarea", "from_name": tag, "to_name": "image", "value": {"text": list(texts)}}


def test_recorded_contexts(recorded: Callable[[str], Any]) -> None:
    def read(name: str) -> Interaction | None:
        body = recorded(f"requests/predict_interactive_{name}")["json"]
        return read_interaction(body["params"]["context"]["result"], parse_label_config(body["label_config"]))

    assert read("empty_context") is None
    assert read("text") == Interaction("blue box")
    assert read("keypoint") == Interaction(
        focus=Focus(points=(Point(28.649835345773877, 45.023783388218085),)), label="red"
    )
    assert read("rectangle") == Interaction(
        focus=Focus((Box(52.57958287596048, 29.948774240761068, 33.36992316136114, 50.05488474204172),)), label="red"
    )


def test_points_of_one_label_come_together() -> None:
    regions = [point(1, 2, "blue"), point(3, 4), point(5, 6, is_positive=False), point(7, 8, is_positive=True)]
    asked = read_interaction(regions, CONFIG)
    assert asked == Interaction(focus=Focus(points=(Point(3, 4), Point(5, 6, False), Point(7, 8))), label="red")


def test_the_newest_of_several_texts_counts() -> None:
    assert read_interaction([text("red ball", "car", " ")], CONFIG) == Interaction("car")
    assert read_interaction([text("red ball", tag="comment")], CONFIG) is None


def test_a_box_without_a_label() -> None:
    assert read_interaction([box(1, 2, 3, 4, None)], CONFIG) == Interaction(focus=Focus((Box(1, 2, 3, 4),)))


@pytest.mark.parametrize(
    "region",
    [
        {},
        {"type": "keypointlabels", "value": None},
        {**point(1, 2), "to_name": "other"},
        point(-1, 5),
        point(5, 100.01),
        point(float("nan"), 5),
        point(10**400, 5),
        box(1, 2, 0, 4),
        box(1, 2, 3, -4),
        box(1, 2, 3, "4"),
        box(1, True, 3, 4),
        box(1, 2, float("inf"), 4),
        {"type": ["x"], "from_name": {}, "value": {"x": 1}},
        {**text(1, None, ["x"]), "value": {"text": 7}},
    ],
    ids=str,
)
def test_what_is_malformed_is_left_out(region: dict[str, Any]) -> None:
    assert read_interaction([region], CONFIG) is None
    assert read_interaction([point(1, 2), region], CONFIG) == Interaction(
        focus=Focus(points=(Point(1, 2),)), label="red"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text("xy", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xy", max_size=3), inner, max_size=3),
    max_leaves=8,
)
REGION = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["textarea", "keypointlabels", "rectanglelabels", "rectangle"]) | JSON,
        "from_name": st.sampled_from(["prompt", "kp"]) | JSON,
        "to_name": st.just("image") | JSON,
        "is_positive": JSON,
        "value": st.dictionaries(
            st.sampled_from(["x", "y", "width", "height", "rotation", "text", "labels", "keypointlabels"]),
            st.floats(-10, 110) | st.just(["red"]) | JSON,
        )
        | JSON,
    },
)


@given(st.lists(REGION, max_size=4))
def test_any_context_becomes_a_plan_that_can_be_stored(regions: list[dict[str, Any]]) -> None:
    asked = read_interaction(regions, CONFIG)
    plan = plan_prompts(CONFIG, {}, asked)
    assert PromptPlan.from_json(json.loads(json.dumps(plan.to_json(), allow_nan=False))) == plan


def test_no_more_shapes_than_anybody_draws() -> None:
    asked = read_interaction([point(1, 2)] * 10_000, CONFIG)
    assert asked is not None and asked.focus is not None and len(asked.focus.points) == 100
