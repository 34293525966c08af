"""What Label Studio's page takes, read as it reads it, or refused at once with the reason."""

import numpy as np
import pytest

from labeling.answers import build_answer
from labeling.errors import LabelConfigError
from labeling.predictions import validate_prediction
from labeling.prompts.interaction import Interaction
from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.prompts.task_values import task_text, task_value
from worker.gpu_worker.model_process import SegmentedPrompt

IMAGE = '<Image name="image" value="$image"/>'


def config(inside: str, image: str = IMAGE, kind: str = "BrushLabels", attributes: str = "") -> LabelConfig:
    return parse_label_config(f'<View>{image}<{kind} name="m" toName="image" {attributes}>{inside}</{kind}></View>')


@pytest.mark.parametrize("value", ["cell ", " cell", "  big  cell", "cell\u00a0", "Zelle (tot) "])
def test_a_label_is_carried_to_the_blank_as_it_is_spelt(value: str) -> None:
    read = config(f'<Label value="{value}" prompt="all cells"/><Label value="vessel"/>')
    plan = plan_prompts(read, {})
    mask = np.eye(20, dtype=np.bool_)
    answers = {item.prompt: SegmentedPrompt(item.prompt, mask, 0.9) for item in plan.items}
    prediction = build_answer(plan, read, answers, "v1")
    validate_prediction(prediction, read)
    assert [region["value"]["brushlabels"] for region in prediction.result] == [[value], ["vessel"]]


TYPED = """<Label value="mitochondrion" alias="M" prompt="every mitochondrion; all mitochondria"/>
<Label value="dead cell" alias="a" prompt="cells with a dark core"/><Label value="cell"/>
<Label value="wall " alias="W1"/>"""


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("cell", "cell"),
        ("Cells", "cell"),
        ("the cells on the left", "cell"),
        ("two dead cells", "a"),
        ("a dead cell", "a"),
        ("a", "a"),
        ("a mitochondrion", "M"),
        ("all mitochondria at the edge", "M"),
        ("mitochondria", "M"),
        ("the wall", "W1"),
        ("every W1", "W1"),
        ("all walls", "W1"),
        ("whatever is dark", "a"),
        ("cellar", "M"),
        ("something else", "M"),
    ],
)
def test_words_of_a_value_an_alias_or_a_prompt_name_the_label(text: str, label: str) -> None:
    plan = plan_prompts(config(TYPED, kind="PolygonLabels"), {}, Interaction(text))
    assert {item.label for item in plan.items} == {label}
    assert [item.prompt for item in plan.items] == [text]


DATA = {
    "image": "/a.png",
    "meta": {"photo": "/b.png", "pages": [{"src": "/c.png"}]},
    "images": ["/d.png", "/e.png"],
    "file": "f.png",
    "a.b": "/g.png",
    "number": 7,
    "nothing": None,
}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("$image", "/a.png"),
        (" $image ", "/a.png"),
        ("$meta.photo", "/b.png"),
        ("$meta.pages[0].src", "/c.png"),
        ("$images[1]", "/e.png"),
        ("$a.b", "/g.png"),
        ("/data/upload/3/$file", "/data/upload/3/f.png"),
        ("https://images.example.com/$number/$file?x=1", "https://images.example.com/7/f.png?x=1"),
        ("$images[2]", None),
        ("$meta.photo.src", None),
        ("$number", None),
        ("$nothing", None),
        ("/data/$missing", None),
    ],
)
def test_an_images_value_is_resolved_as_on_the_page(value: str, found: str | None) -> None:
    read = config('<Label value="cell"/>', image=f'<Image name="image" value="{value}"/>')
    assert task_text(DATA, read.image_key) == found


def test_a_value_that_is_no_text_is_no_image() -> None:
    assert task_value(DATA, "images") == DATA["images"]
    assert task_text(DATA, "images") is None and task_text({"image": " \n"}, "image") is None


def test_attributes_count_whatever_their_case_and_the_only_image_needs_no_name_for_it() -> None:
    label = '<Label VALUE="cell" Prompt="all cells" MIN_AREA="9"/>'
    for tag in ('toname="image"', 'TONAME="image"', ""):
        read = parse_label_config(
            f'<View><Image NAME="image" Value="$image"/><BrushLabels name="m" {tag}>{label}</BrushLabels>'
            f'<TextArea name="prompt" {tag}/></View>'
        )
        assert [(each.label, each.prompts, each.options.min_area) for each in read.controls[0].labels] == [
            ("cell", ("all cells",), 9)
        ]
        assert (read.image.name, read.text_prompt_tag) == ("image", "prompt")
    with pytest.raises(LabelConfigError, match="no tag that can hold a mask"):
        parse_label_config(
            f'<View>{IMAGE}<Text name="t" value="$t"/><BrushLabels name="m">{label}</BrushLabels></View>'
        )
    with pytest.raises(LabelConfigError, match="several pages"):
        config(label, image='<Image name="image" VALUELIST="$pages"/>')


REPEATED = """<Repeater on="$sheets" indexFlag="{{i}}"><Image name="sheet_{{i}}" value="$sheets[{{i}}].url"/>
<BrushLabels name="mask_{{i}}" toName="sheet_{{i}}"><Label value="stain"/></BrushLabels></Repeater>"""


def test_a_repeater_is_refused_at_once_or_left_out_with_a_note() -> None:
    with pytest.raises(LabelConfigError, match=r"Repeater.*task of its own"):
        parse_label_config(f"<View>{REPEATED}</View>")
    beside = config('<Label value="cell"/>', image=f"{REPEATED}{IMAGE}")
    assert [control.name for control in beside.controls] == ["m"]
    assert any("Repeater" in note for note in beside.notes)


def test_dynamic_labels_are_named() -> None:
    read = config('<Label value="cell"/>', attributes='value="$kinds"')
    assert [label.label for label in read.controls[0].labels] == ["cell"]
    assert "takes labels from the task" in read.notes[0] and "only cell is" in read.notes[0]
    with pytest.raises(LabelConfigError, match="takes labels from the task"):
        config("", attributes='value="$kinds"')


def test_a_labels_value_from_the_task_is_left_out_with_a_note() -> None:
    read = config('<Label value="$kind"/><Label value="cell"/>')
    assert [label.label for label in read.controls[0].labels] == ["cell"]
    assert "comes from the task" in read.notes[0]
    with pytest.raises(LabelConfigError, match="comes from the task"):
        config('<Label value="$kind"/>')


def test_labels_that_regions_cannot_tell_apart_are_named() -> None:
    read = config('<Label value="cat" alias="x"/><Label value="dog" alias="x"/><Label value="cow"/>')
    assert [label.label for label in read.controls[0].labels] == ["x", "cow"]
    assert [note for note in read.notes if 'carry "x"' in note and "only the first" in note]
