"""The examples of docs/label-config.md say what the parser does."""

import re
from pathlib import Path

import pytest
from label_studio_sdk.label_interface.interface import LabelInterface

from labeling.prompts.label_config import LabelPrompt, parse_label_config
from labeling.prompts.region_options import _ATTRIBUTES, RegionOptions

PAGE = Path(__file__).parents[3] / "docs" / "label-config.md"
SECTIONS = re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
EXAMPLES = [(title, xml) for title, text in SECTIONS for xml in re.findall(r"```xml\n(.*?)```", text, re.DOTALL)]

OBJECTS = RegionOptions(instances=True)
CELLS = RegionOptions(instances=True, min_area=20, tolerance=1.5, overlaps="score")
DEBRIS = RegionOptions(min_area=20, tolerance=1.5, score_threshold=0.6, overlaps="score")
EXPECTED = {
    "One label": {"brushlabels": [LabelPrompt("nucleus", ("all nuclei",))]},
    "Several prompts, and exceptions": {
        "polygonlabels": [
            LabelPrompt("vehicle", ("every car", "every van"), ("toy car", "car on a poster")),
            LabelPrompt("tree", ("oak", "beech")),
            LabelPrompt("sky", ("sky",)),
        ]
    },
    "Objects instead of one mask": {
        "polygonlabels": [
            LabelPrompt("cell", ("all cells",), (), CELLS),
            LabelPrompt("debris", ("all debris",), (), DEBRIS),
        ]
    },
    "Which kind of region": {
        "bitmasklabels": [LabelPrompt("tissue", ("all tissue",))],
        "vectorlabels": [LabelPrompt("vessel", ("every vessel",))],
        "rectanglelabels": [LabelPrompt("artefact", ("every artefact",))],
    },
    "A prompt in each task": {"brush": []},
    "On the page": {
        "polygonlabels": [
            LabelPrompt("cell", ("all cells",), (), OBJECTS),
            LabelPrompt("vessel", ("every vessel",), (), OBJECTS),
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


def test_the_table_of_options_is_complete() -> None:
    assert re.findall(r"^\| `(\w+)` \|", dict(SECTIONS)["Objects instead of one mask"], re.MULTILINE) == [*_ATTRIBUTES]
