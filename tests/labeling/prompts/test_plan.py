import json

import pytest

from labeling.prompts.focus import Focus, Point
from labeling.prompts.interaction import Interaction
from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.prompts.plan import PromptedLabel, PromptPlan, plan_prompts
from labeling.prompts.region_options import RegionOptions


def config_of(labels: str) -> LabelConfig:
    brush = f'<BrushLabels name="brush" toName="image">{labels}</BrushLabels>'
    return parse_label_config(f'<View><Image name="image" value="$image"/>{brush}</View>')


THREE = config_of('<Label value="car" predicted_values="a car,a van"/><Label value="tree"/><Label value="tree top"/>')
TISSUE = config_of(
    '<Label value="Vessel" prompt="every vessel"/><Label value="Nucleus" prompt="all nuclei; dark spots"/>'
    '<Label value="cell"/><Label value="Process"/>'
)
PLAIN = parse_label_config('<View><Image name="i" value="$i"/><Brush name="b" toName="i"/></View>')


def pairs(plan: PromptPlan) -> list[tuple[str | None, str]]:
    return [(item.label, item.prompt) for item in plan.items]


def test_all_labels_are_asked_in_their_order() -> None:
    plan = plan_prompts(THREE, {})
    assert pairs(plan) == [("car", "a car"), ("car", "a van"), ("tree", "tree"), ("tree top", "tree top")]
    assert plan.items[0] == PromptedLabel("car", "a car", "brush", "image", "brushlabels")


def test_a_tasks_own_prompt_replaces_those_of_the_first_label() -> None:
    plan = plan_prompts(THREE, {"prompt": "the red car"})
    assert pairs(plan) == [("car", "the red car"), ("tree", "tree"), ("tree top", "tree top")]


@pytest.mark.parametrize("prompt", [None, 7, ["a"], "", " \x00\n"])
def test_a_task_without_a_usable_prompt_is_asked_as_the_config_says(prompt: object) -> None:
    assert plan_prompts(THREE, {"prompt": prompt}) == plan_prompts(THREE, {})


@pytest.mark.parametrize(
    ("config", "typed", "label"),
    [
        (THREE, "something", "car"),
        (THREE, "the big tree", "tree"),
        (THREE, "the CAR on the left", "car"),
        (THREE, "a car under a tree", "tree"),  # the longest
        (THREE, "the tree top", "tree top"),  # no "tree"
        (THREE, "a tree and its tree top", "tree top"),  # the longest
        (THREE, "Tree top.", "tree top"),  # its own prompt
        (THREE, "scary streets", "car"),  # whole words only
        (TISSUE, "all nuclei", "Nucleus"),  # its own prompt, word for word
        (TISSUE, "Dark Spots.", "Nucleus"),
        (TISSUE, "all cells", "cell"),
        (TISSUE, "the two processes", "Process"),
        (TISSUE, "a nucleus beside vessels", "Nucleus"),
        (TISSUE, "cellset", "Vessel"),
    ],
)
def test_typed_text_is_one_prompt_for_one_label(config: LabelConfig, typed: str, label: str) -> None:
    assert pairs(plan_prompts(config, {"prompt": "not asked"}, Interaction(typed))) == [(label, typed)]


def test_a_plain_brush_is_asked_only_what_is_typed_or_in_the_task() -> None:
    assert plan_prompts(PLAIN, {}).items == ()
    assert plan_prompts(PLAIN, {"prompt": "a dog"}).items == (PromptedLabel(None, "a dog", "b", "i", "brush"),)
    assert plan_prompts(PLAIN, {}, Interaction("a cat")).items == (PromptedLabel(None, "a cat", "b", "i", "brush"),)


def test_typed_control_characters_leave_nothing_to_ask() -> None:
    assert plan_prompts(THREE, {}, Interaction("\x00\x07 \n")).items == ()


ASKED = config_of(
    '<Label value="car" prompt="a car; a van" exclude="a toy" model_score_threshold="0.5"/><Label value="tree"/>'
)
FOCUS = Focus(points=(Point(1, 2),))


def test_prompts_of_one_label_come_with_what_is_excluded_and_its_options() -> None:
    options = RegionOptions(score_threshold=0.5)
    expected = [
        PromptedLabel("car", p, "brush", "image", "brushlabels", ("a toy",), options) for p in ("a car", "a van")
    ]
    assert plan_prompts(ASKED, {}).items == (*expected, PromptedLabel("tree", "tree", "brush", "image", "brushlabels"))


def test_a_focus_asks_its_labels_prompts_whatever_their_score() -> None:
    plan = plan_prompts(ASKED, {}, Interaction(focus=FOCUS, label="car"))
    assert pairs(plan) == [("car", "a car"), ("car", "a van")]
    assert {(item.exclude, item.options, item.focus) for item in plan.items} == {(("a toy",), RegionOptions(), FOCUS)}
    assert pairs(plan_prompts(ASKED, {}, Interaction(focus=FOCUS, label="tree"))) == [("tree", "tree")]


def test_what_is_pointed_at_may_be_small_what_is_typed_may_not() -> None:
    cells = config_of('<Label value="cell" instances="true" min_area="20" model_score_threshold="0.5"/>')
    (pointed,) = plan_prompts(cells, {}, Interaction(focus=FOCUS, label="cell")).items
    (typed,) = plan_prompts(cells, {}, Interaction("cell")).items
    assert pointed.options == RegionOptions(instances=True)
    assert typed.options == RegionOptions(instances=True, min_area=20)


def test_a_focus_without_a_label_is_the_first_labels() -> None:
    assert pairs(plan_prompts(ASKED, {"prompt": "my car"}, Interaction(focus=FOCUS))) == [("car", "my car")]


def test_a_focus_of_a_label_that_nothing_draws_asks_nothing() -> None:
    assert plan_prompts(ASKED, {}, Interaction(focus=FOCUS, label="cat")).items == ()
    plan = plan_prompts(PLAIN, {"prompt": "a dog"}, Interaction(focus=FOCUS, label="cat"))
    assert pairs(plan) == [(None, "a dog")]  # there are no labels to draw


def test_typed_text_may_be_several_prompts() -> None:
    assert pairs(plan_prompts(ASKED, {}, Interaction("a lorry; a bus"))) == [("car", "a lorry"), ("car", "a bus")]


def test_a_plan_of_an_earlier_release_is_read() -> None:
    old = {"label": "car", "prompt": "car", "from_name": "b", "to_name": "i", "region_type": "brushlabels"}
    plan = PromptPlan.from_json([old])
    assert plan.items == (PromptedLabel("car", "car", "b", "i", "brushlabels"),)
    assert plan.to_json() == [old]  # so its digest, and with it the model version, is the same


def test_a_plan_survives_json_and_names_itself() -> None:
    plan = plan_prompts(THREE, {"prompt": "Zellkerne, größer"})
    for each in (plan, plan_prompts(ASKED, {}), plan_prompts(ASKED, {}, Interaction(focus=FOCUS, label="car"))):
        assert PromptPlan.from_json(json.loads(json.dumps(each.to_json()))) == each
    assert plan.digest() != plan_prompts(THREE, {}).digest()
    assert plan_prompts(THREE, {}).digest() == plan_prompts(THREE, {"image": "x"}).digest()
