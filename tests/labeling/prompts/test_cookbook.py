"""The examples of docs/label-config.md say what the parser does."""

import re
from pathlib import Path

import pytest
from label_studio_sdk.label_interface.interface import LabelInterface

from labeling.prompts.known import known_names, unknown_notes, unknown_prompts
from labeling.prompts.label_config import LabelPrompt, parse_label_config
from labeling.prompts.region_options import _ATTRIBUTES, RegionOptions
from labeling.prompts.wording import split_prompts
from labeling.settings import Settings

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "label-config.md"
SECTIONS = re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
EXAMPLES = [(title, xml) for title, text in SECTIONS for xml in re.findall(r"```xml\n(.*?)```", text, re.DOTALL)]

OBJECTS = RegionOptions(instances=True)
CELLS = RegionOptions(instances=True, min_area=20, tolerance=1.5, overlaps="score")
EMBRYOS = RegionOptions(min_area=20, tolerance=1.5, score_threshold=0.6, overlaps="score")
EXPECTED = {
    "One label": {"brushlabels": [LabelPrompt("nucleus", ("all nuclei",))]},
    "Several prompts, and exceptions": {
        "polygonlabels": [
            LabelPrompt("front", ("every facade", "every shop"), ("all windows", "all doors")),
            LabelPrompt("green", ("tree", "grass")),
            LabelPrompt("sky", ("sky",)),
        ]
    },
    "Objects instead of one mask": {
        "polygonlabels": [
            LabelPrompt("cell", ("all cells",), (), CELLS),
            LabelPrompt("embryo", ("all embryos",), (), EMBRYOS),
        ]
    },
    "Which kind of region": {
        "bitmasklabels": [LabelPrompt("road", ("the road",))],
        "vectorlabels": [LabelPrompt("building", ("every building",))],
        "rectanglelabels": [LabelPrompt("car", ("every car",))],
    },
    "A prompt in each task": {"brush": []},
    "On the page": {
        "polygonlabels": [
            LabelPrompt("cell", ("all cells",), (), OBJECTS),
            LabelPrompt("embryo", ("every embryo",), (), OBJECTS),
        ]
    },
}


def test_every_example_is_expected() -> None:
    assert [title for title, _ in EXAMPLES] == list(EXPECTED)


@pytest.mark.parametrize(("title", "xml"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_example(title: str, xml: str) -> None:
    config = parse_label_config(xml)
    assert {control.type: list(control.labels) for control in config.controls} == EXPECTED[title]
    assert (config.image_key, config.notes) == ("image", ())
    assert config.text_prompt_tag == ("prompt" if "<TextArea" in xml else None)
    LabelInterface(xml).validate()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("title", "xml"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_the_starter_was_taught_the_words_of_each_example(title: str, xml: str) -> None:
    assert unknown_notes(known_names(Settings(), "starter"), parse_label_config(xml)) == []


def test_the_starter_was_taught_the_words_of_readme_and_help() -> None:
    """Of the README's commands, label and Python, and of every --prompt of the commands' help."""
    readme, console = ROOT / "README.md", (ROOT / "backend" / "console").glob("*.py")
    asked = re.findall(r'(?:prompt=|--prompt |segment\(".+?", )"([^"]+)"', readme.read_text())
    asked += [prompt for file in console for prompt in re.findall(r'--prompt "([^"]+)"', file.read_text())]
    assert len(asked) >= 8
    prompts = [prompt for text in asked for prompt in split_prompts(text)]
    assert unknown_prompts(known_names(Settings(), "starter"), prompts) == {}


def test_the_table_of_options_is_complete() -> None:
    assert re.findall(r"^\| `(\w+)` \|", dict(SECTIONS)["Objects instead of one mask"], re.MULTILINE) == [*_ATTRIBUTES]
