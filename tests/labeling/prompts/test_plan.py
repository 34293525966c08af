import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.prompts.plan import MAX_PROMPT_CHARACTERS, PromptedLabel, PromptPlan, clean_prompt, plan_prompts


def config_of(labels: str) -> LabelConfig:
    brush = f'<BrushLabels name="brush" toName="image">{labels}</BrushLabels>'
    return parse_label_config(f'<View><Image name="image" value="$image"/>{brush}</View>')


THREE = config_of('<Label value="car" predicted_values="a car,a van"/><Label value="tree"/><Label value="tree top"/>')
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
    ("typed", "label"),
    [
        ("something", "car"),
        ("the big tree", "tree"),
        ("the CAR on the left", "car"),
        ("a car under a tree", "car"),  # two labels: the first of the config
        ("the tree top", "car"),  # "tree" and "tree top"
        ("scary streets", "car"),  # whole words only
    ],
)
def test_typed_text_is_one_prompt_for_one_label(typed: str, label: str) -> None:
    assert pairs(plan_prompts(THREE, {"prompt": "not asked"}, typed)) == [(label, typed)]


def test_a_plain_brush_is_asked_only_what_is_typed_or_in_the_task() -> None:
    assert plan_prompts(PLAIN, {}).items == ()
    assert plan_prompts(PLAIN, {"prompt": "a dog"}).items == (PromptedLabel(None, "a dog", "b", "i", "brush"),)
    assert plan_prompts(PLAIN, {}, "a cat").items == (PromptedLabel(None, "a cat", "b", "i", "brush"),)


def test_typed_control_characters_leave_nothing_to_ask() -> None:
    assert plan_prompts(THREE, {}, "\x00\x07 \n").items == ()


@given(st.text())
def test_a_clean_prompt_is_one_short_printable_line(text: str) -> None:
    clean = clean_prompt(text)
    assert len(clean) <= MAX_PROMPT_CHARACTERS
    assert clean == clean_prompt(clean) == clean.strip()
    assert not any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in clean)
    clean.encode()


def test_a_plan_survives_json_and_names_itself() -> None:
    plan = plan_prompts(THREE, {"prompt": "Zellkerne, größer"})
    assert PromptPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.digest() != plan_prompts(THREE, {}).digest()
    assert plan_prompts(THREE, {}).digest() == plan_prompts(THREE, {"image": "x"}).digest()
