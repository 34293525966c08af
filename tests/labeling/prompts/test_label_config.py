import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.errors import LabelConfigError
from labeling.prompts.label_config import Control, ImageTag, LabelConfig, LabelPrompt, parse_label_config
from labeling.prompts.region_options import RegionOptions
from labeling.regions.kinds import KINDS

IMAGE = '<Image name="image" value="$image"/>'
BRUSH = '<BrushLabels name="brush" toName="image"><Label value="cell"/></BrushLabels>'


def view(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


def labels_tag(tag: str, name: str, *labels: str, **attributes: str) -> str:
    inside = "".join(f'<Label value="{label}"/>' for label in labels)
    more = "".join(f' {key}="{value}"' for key, value in {"toName": "image", **attributes}.items())
    return f'<{tag} name="{name}"{more}>{inside}</{tag}>'


def drawn(config: LabelConfig) -> list[tuple[str, str, list[str | None]]]:
    return [(each.type, each.name, [label.label for label in each.labels]) for each in config.controls]


RECORDED = {
    "setup": "schema",
    "setup_basic_auth": "schema",
    "predict_single": "label_config",
    "predict_batch": "label_config",
    "predict_interactive_text": "label_config",
    "predict_interactive_keypoint": "label_config",
    "predict_interactive_empty_context": "label_config",
}


@pytest.mark.parametrize(("request_name", "key"), RECORDED.items())
def test_recorded_configs(recorded, request_name: str, key: str) -> None:
    config = parse_label_config(recorded(f"requests/{request_name}")["json"][key])
    assert (config.image, config.image_key, config.text_prompt_tag) == (ImageTag("image", "image"), "image", "prompt")
    labels = (LabelPrompt("red", ("red",)), LabelPrompt("blue", ("blue",)))
    assert config.controls == (Control("brush", "image", "brushlabels", labels),)
    assert config.control("brush") is config.controls[0] and config.control("poly") is None


def test_the_prompt_is_the_attribute_else_predicted_values_else_the_name() -> None:
    labels = (
        '<Label value="car" prompt=" every car, also parked ones; every van " predicted_values="x"/>'
        '<Label value="tree" predicted_values="oak, ,beech,Oak"/><Label value="sky"/><Label/>'
    )
    config = parse_label_config(view(IMAGE, f'<BrushLabels name="b" toName="image">{labels}</BrushLabels>'))
    assert config.controls[0].labels == (
        LabelPrompt("car", ("every car, also parked ones", "every van")),
        LabelPrompt("tree", ("oak", "beech")),
        LabelPrompt("sky", ("sky",)),
    )


def test_a_label_overrides_its_tags_attributes() -> None:
    config = parse_label_config(
        view(
            IMAGE,
            '<PolygonLabels name="p" toName="image" instances="true" min_area="9" exclude="shadow; glare">'
            '<Label value="a"/><Label value="b" instances="false" tolerance="2" exclude="wheel"/>'
            '<Label value="c" exclude=""/></PolygonLabels>',
        )
    )
    assert config.controls[0].labels == (
        LabelPrompt("a", ("a",), ("shadow", "glare"), RegionOptions(instances=True, min_area=9)),
        LabelPrompt("b", ("b",), ("wheel",), RegionOptions(min_area=9, tolerance=2.0)),
        LabelPrompt("c", ("c",), (), RegionOptions(instances=True, min_area=9)),
    )


def test_regions_carry_a_labels_alias() -> None:
    config = parse_label_config(view(IMAGE, BRUSH.replace('value="cell"', 'value="cell" alias="C"')))
    assert config.controls[0].labels == (LabelPrompt("C", ("cell",)),)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_tag_is_drawn_into(kind: str) -> None:
    (control,) = parse_label_config(view(IMAGE, labels_tag(kind, "t", *["a"] * kind.endswith("labels")))).controls
    assert (control.type, control.has_labels) == (kind, kind.endswith("labels"))
    assert control.labels == ((LabelPrompt("a", ("a",)),) if control.has_labels else ())


def test_a_plain_tag_may_have_prompts_of_its_own() -> None:
    brush = '<Brush name="b" toName="image" prompt="every cell; every nucleus" exclude="dirt"/>'
    labels = (LabelPrompt(None, ("every cell", "every nucleus"), ("dirt",)),)
    assert parse_label_config(view(IMAGE, brush)).controls == (Control("b", "image", "brush", labels),)
    assert drawn(parse_label_config(view(IMAGE, brush, BRUSH))) == [
        ("brushlabels", "brush", ["cell"]),
        ("brush", "b", [None]),
    ]


def test_a_plain_tag_without_prompts_comes_last_and_alone() -> None:
    plain = '<Brush name="b" toName="image"/><Polygon name="p" toName="image"/>'
    assert drawn(parse_label_config(view(IMAGE, plain, BRUSH))) == [("brushlabels", "brush", ["cell"])]
    assert drawn(parse_label_config(view(IMAGE, plain))) == [("brush", "b", [])]


def test_a_label_is_drawn_once_where_masks_come_before_boxes() -> None:
    config = parse_label_config(
        view(
            IMAGE,
            labels_tag("RectangleLabels", "box", "a", "d"),
            labels_tag("PolygonLabels", "poly", "a", "b"),
            labels_tag("BrushLabels", "brush", "b", "c"),
        )
    )
    assert drawn(config) == [
        ("polygonlabels", "poly", ["a", "b"]),
        ("brushlabels", "brush", ["c"]),
        ("rectanglelabels", "box", ["d"]),
    ]
    assert [note.split(" too ")[0] for note in config.notes] == [
        'Labels of <BrushLabels name="brush"> that are in <PolygonLabels name="poly">',
        'Labels of <RectangleLabels name="box"> that are in <PolygonLabels name="poly">',
    ]


def test_a_smart_box_is_an_input_unless_nothing_else_can_be_drawn() -> None:
    box = labels_tag("RectangleLabels", "box", "a", "b", smart="true")
    beside, alone = parse_label_config(view(IMAGE, box, BRUSH)), parse_label_config(view(IMAGE, box))
    assert (drawn(beside), beside.input_tags) == ([("brushlabels", "brush", ["cell"])], ("box",))
    assert (drawn(alone), alone.input_tags) == ([("rectanglelabels", "box", ["a", "b"])], ())
    brush = BRUSH.replace("toName", 'smart="true" toName')  # a brush can be smart and is drawn into
    assert drawn(parse_label_config(view(IMAGE, box, brush))) == [("brushlabels", "brush", ["cell"])]


def test_labels_of_a_smart_tool_that_nothing_draws_are_noted() -> None:
    box = labels_tag("RectangleLabels", "box", "cell", "Cell", "vessel", smart="true")
    point = labels_tag("KeyPointLabels", "point", "cell", smart="TRUE")
    assert parse_label_config(view(IMAGE, BRUSH, box, point)).notes == (
        '<RectangleLabels name="box"> gets no answer for Cell, vessel: no tag that holds masks has that label. Spell '
        "it as there: cell.",
    )
    alias = BRUSH.replace('value="cell"', 'value="cell" alias="C"')  # what regions carry, and so smart points
    assert "gets no answer for cell" in parse_label_config(view(IMAGE, alias, point)).notes[0]
    assert parse_label_config(view(IMAGE, alias, point.replace('"cell"', '"c" alias="C"'))).notes == ()
    assert parse_label_config(view(IMAGE, '<Brush name="b" toName="image"/>', box)).notes == ()  # it takes every label
    assert parse_label_config(view(IMAGE, BRUSH, box.replace("true", "false"))).notes[0].startswith("Labels of")
    assert parse_label_config(view(IMAGE, box)).notes == ()  # drawn into itself


@pytest.mark.parametrize("kind", ["BrushLabels", "Polygon", "EllipseLabels", "Vector", "Bitmask"])
def test_a_smart_tool_that_gets_no_answer_is_noted(kind: str) -> None:
    labels = ["a"] * kind.endswith("Labels")
    smart = labels_tag(kind, "t", *labels, smart="true")
    [note] = parse_label_config(view(IMAGE, BRUSH, smart)).notes
    assert note.startswith(f'<{kind} name="t"> has smart="true" and gets no answer: only points and boxes do.')
    assert parse_label_config(view(IMAGE, BRUSH, labels_tag(kind, "t", *labels, smart="false"))).notes == ()


def test_one_of_several_images_is_predicted_and_people_are_told() -> None:
    second = '<Image name="second" value="$second"/>'
    assert parse_label_config(view(second, IMAGE, BRUSH)).notes == ()  # it is only looked at
    config = parse_label_config(view(second, IMAGE, labels_tag("Brush", "b", toName="second"), BRUSH))
    assert (config.image, drawn(config)) == (ImageTag("image", "image"), [("brushlabels", "brush", ["cell"])])
    assert config.notes == ('Only the image "image" is predicted, not what <Brush name="b"> draw on.',)
    both = parse_label_config(view(IMAGE, second, BRUSH.replace('toName="image"', 'toName="second, image"')))
    assert (both.image.name, both.controls[0].to_name) == ("second", "second")


def test_a_tag_without_labels_is_left_out_and_people_are_told() -> None:
    config = parse_label_config(view(IMAGE, '<PolygonLabels name="p" toName="image"/>', BRUSH))
    assert drawn(config) == [("brushlabels", "brush", ["cell"])]
    assert '<PolygonLabels name="p"> has no labels' in config.notes[0]


def test_unknown_tags_comments_and_attributes_are_ignored() -> None:
    strange = '<!-- c --><Style>.x { a: b }</Style><Fancy toName="image" x="1"/><?pi?>'
    brush = BRUSH.replace("toName", 'opacity="0.5" toName')
    xml = '<?xml version="1.0" encoding="utf-8"?>' + view(strange, IMAGE, brush)
    assert parse_label_config(xml).controls[0].name == "brush"


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
        (view(IMAGE, BRUSH, "<a>" * 50_000, "</a>" * 50_000), "nested too deeply"),
        (view(BRUSH), "no image. Add"),
        (view('<Image value="$image"/>', BRUSH), "no image. Add"),
        (view('<Image name="image" valueList="$pages"/>', BRUSH), "Make each page a task of its own"),
        (view('<Image name="image" value="https://x/y.png"/>', BRUSH), r'a value such as "\$image"'),
        (view(IMAGE), "no tag that can hold a mask"),
        (view(IMAGE, BRUSH.replace('"image"', '"other"')), "no tag that can hold a mask"),
        (view(IMAGE, labels_tag("KeyPointLabels", "k", "a", smart="true")), "no tag that can hold a mask"),
        (view(IMAGE, '<BrushLabels name="b" toName="image"/>'), "has no labels"),
        (view(IMAGE, BRUSH.replace("toName", 'min_area="big" toName')), 'such as min_area="20"'),
        (view(IMAGE, BRUSH.replace("value", 'tolerance="-1" value')), '<Label value="cell"> has tolerance="-1"'),
    ],
)
def test_what_cannot_be_used_is_refused_with_advice(xml: str, advice: str) -> None:
    with pytest.raises(LabelConfigError, match=advice):
        parse_label_config(xml)


TAGS = [*KINDS, "Image", "Label", "TextArea", "KeyPointLabels", "View"]
ATTRIBUTES = [*("name", "toName", "value", "valueList", "smart", "prompt", "exclude", "predicted_values", "alias")]
TEXT = st.sampled_from(["image", "$image", "a", "true", "a; b", ""]) | st.text(st.characters(codec="ascii"), max_size=6)


@given(
    st.recursive(
        st.just(""),
        lambda inner: st.builds(
            lambda tag, attributes, inside: (
                f"<{tag} "
                + " ".join(f'{key}="{_escape(value)}"' for key, value in attributes.items())
                + f">{''.join(inside)}</{tag}>"
            ),
            st.sampled_from(TAGS),
            st.dictionaries(st.sampled_from([*ATTRIBUTES, "instances", "min_area"]), TEXT),
            st.lists(inner, max_size=4),
        ),
    )
)
def test_any_config_is_read_or_refused(inside: str) -> None:
    try:
        config = parse_label_config(view(IMAGE, inside))
    except LabelConfigError as error:
        assert str(error)
        return
    labels = [label for control in config.controls if control.has_labels for label in control.labels]
    assert config.controls and len({label.label for label in labels}) == len(labels)
    assert all(control.to_name == config.image.name for control in config.controls)


def _escape(value: str) -> str:
    return "".join(f"&#{ord(character)};" if ord(character) > 31 else "" for character in value)


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


def test_a_config_of_a_megabyte_is_read_at_once() -> None:
    """/setup has three seconds."""
    many = "".join(
        f'<BrushLabels name="b{n}" toName="image"><Label value="l{n}"/></BrushLabels>' for n in range(12_000)
    )
    other = "".join(f'<Brush name="p{n}" toName="second"/>' for n in range(6_000))
    began = time.process_time()
    config = parse_label_config(view(IMAGE, '<Image name="second" value="$second"/>', many, other))
    assert time.process_time() - began < 2
    assert len(config.controls) == 12_000


@pytest.mark.parametrize(
    ("inside", "noted"),
    [
        ('<Label value="cell" exclude="Cell"/>', ["cell"]),
        ('<Label value="cell" prompt="a; b" exclude="b; a; c"/><Label value="nucleus"/>', ["a, b"]),
        ('<Label value="cell" prompt="a; b" exclude="b"/><Label value="nucleus" exclude="cell"/>', []),
    ],
)
def test_a_label_that_excludes_itself_is_noted(inside: str, noted: list[str]) -> None:
    config = parse_label_config(view(IMAGE, f'<BrushLabels name="b" toName="image">{inside}</BrushLabels>'))
    assert list(config.notes) == [
        f'Label "cell" of <BrushLabels name="b"> excludes all that it asks for ({prompts}): its masks are always empty.'
        for prompts in noted
    ]


def test_so_is_a_tag_that_does() -> None:
    tag = '<BrushLabels name="b" toName="image" exclude="cell"><Label value="cell"/><Label value="dog"/></BrushLabels>'
    assert len(parse_label_config(view(IMAGE, tag)).notes) == 1
    plain = '<Brush name="b" toName="image" prompt="cell" exclude="cell"/>'
    assert parse_label_config(view(IMAGE, plain)).notes[0].startswith('<Brush name="b"> excludes all')


def test_the_same_text_is_read_once_unless_it_is_huge() -> None:
    def config(labels: int) -> str:
        told = "".join(f'<Label value="cell {each}"/>' for each in range(labels))
        image = '<Image name="image" value="$image"/>'
        return f'<View>{image}<BrushLabels name="brush" toName="image">{told}</BrushLabels></View>'

    assert parse_label_config(config(300)) is parse_label_config(config(300))
    huge = config(12_000)
    assert parse_label_config(huge) is not parse_label_config(huge)
    for _ in range(2):
        with pytest.raises(LabelConfigError, match="no image"):
            parse_label_config("<View/>")
