import time

import pytest

from labeling.errors import LabelConfigError
from labeling.prompts.label_config import BrushControl, LabelPrompt, parse_label_config

IMAGE = '<Image name="image" value="$image"/>'
BRUSH = '<BrushLabels name="brush" toName="image"><Label value="cell"/></BrushLabels>'


def view(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


RECORDED = {
    "setup": "schema",
    "setup_basic_auth": "schema",
    "predict_single": "label_config",
    "predict_batch": "label_config",
    "predict_interactive_text": "label_config",
    "predict_interactive_keypoint": "label_config",
}


@pytest.mark.parametrize(("request_name", "key"), RECORDED.items())
def test_recorded_configs(recorded, request_name: str, key: str) -> None:
    config = parse_label_config(recorded(f"requests/{request_name}")["json"][key])
    assert (config.image_tag, config.image_key, config.text_prompt_tag) == ("image", "image", "prompt")
    assert config.brush == BrushControl(
        "brush", "image", "brushlabels", (LabelPrompt("red", "red"), LabelPrompt("blue", "blue"))
    )


def test_the_prompt_is_the_attribute_else_predicted_values_else_the_name() -> None:
    labels = (
        '<Label value="car" prompt=" every car, also parked ones " predicted_values="x"/>'
        '<Label value="tree" predicted_values="oak, ,beech,"/><Label value="sky"/><Label/>'
    )
    config = parse_label_config(view(IMAGE, f'<BrushLabels name="b" toName="image">{labels}</BrushLabels>'))
    assert config.brush.labels == (
        LabelPrompt("car", "every car, also parked ones"),
        LabelPrompt("tree", "oak"),
        LabelPrompt("tree", "beech"),
        LabelPrompt("sky", "sky"),
    )


def test_regions_carry_a_labels_alias() -> None:
    config = parse_label_config(view(IMAGE, BRUSH.replace('value="cell"', 'value="cell" alias="C"')))
    assert config.brush.labels == (LabelPrompt("C", "cell"),)


def test_a_plain_brush_has_no_labels() -> None:
    config = parse_label_config(view(IMAGE, '<Brush name="b" toName="image"/>'))
    assert config.brush == BrushControl("b", "image", "brush", ())


def test_brush_labels_come_before_a_plain_brush() -> None:
    config = parse_label_config(view(IMAGE, '<Brush name="b" toName="image"/>', BRUSH))
    assert config.brush.name == "brush"


def test_unknown_tags_comments_and_attributes_are_ignored() -> None:
    strange = '<!-- c --><Style>.x { a: b }</Style><Fancy toName="image" x="1"/><?pi?>'
    brush = BRUSH.replace("toName", 'instances="true" toName')
    xml = '<?xml version="1.0" encoding="utf-8"?>' + view(strange, IMAGE, brush)
    assert parse_label_config(xml).brush.name == "brush"


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ("", None),
        ('<TextArea name="a" toName="image" perRegion="true"/>', None),
        ('<TextArea name="a" toName="other"/>', None),
        ('<TextArea name="a" toName="image"/><TextArea name="prompt" toName="image"/>', "prompt"),
        ('<TextArea name="a" toName="image"/><TextArea name="b" toName="image"/>', "a"),
    ],
)
def test_the_text_prompt_is_a_plain_text_area_on_the_image(areas: str, expected: str | None) -> None:
    assert parse_label_config(view(IMAGE, BRUSH, areas)).text_prompt_tag == expected


@pytest.mark.parametrize(
    ("xml", "advice"),
    [
        ("", "no valid XML"),
        ("<View>", "no valid XML"),
        (view(BRUSH), "no image. Add"),
        (view(IMAGE, IMAGE.replace('"image"', '"b"'), BRUSH), "several <Image>"),
        (view('<Image name="image" valueList="$pages"/>', BRUSH), "several pages"),
        (view('<Image name="image" value="https://x/y.png"/>', BRUSH), r'a value such as "\$image"'),
        (view('<Image value="$image"/>', BRUSH), "needs a name"),
        (view(IMAGE), "no brush tag"),
        (view(IMAGE, BRUSH.replace('"image"', '"other"')), "no brush tag"),
        (view(IMAGE, '<PolygonLabels name="p" toName="image"><Label value="a"/></PolygonLabels>'), "no brush tag"),
        (view(IMAGE, '<BrushLabels name="b" toName="image"/>'), "has no labels"),
    ],
)
def test_what_cannot_be_used_is_refused_with_advice(xml: str, advice: str) -> None:
    with pytest.raises(LabelConfigError, match=advice):
        parse_label_config(xml)


BOMB = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "doctype",
    [
        f'<!DOCTYPE x [<!ENTITY l0 "lol">{BOMB}]>',
        '<!DOCTYPE x [<!ENTITY l11 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY l11 "x">]>',
    ],
    ids=["bomb", "file", "plain"],
)
def test_entities_are_refused_at_once(doctype: str) -> None:
    began = time.perf_counter()
    with pytest.raises(LabelConfigError, match="refused"):
        parse_label_config(doctype + view(IMAGE, BRUSH, "<Header value='&l11;'/>"))
    assert time.perf_counter() - began < 1


def test_the_kept_xml_has_no_declarations() -> None:
    xml = '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE View>' + view(IMAGE, BRUSH)
    assert parse_label_config(xml).xml.startswith("<View><Image")
