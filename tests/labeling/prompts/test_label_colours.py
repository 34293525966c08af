"""Colours of labels, as the label config says them."""

import pytest

from labeling.prompts.label_colours import label_colours


def test_labels_have_the_colours_of_the_config_and_others_have_different_ones() -> None:
    labels = '<Label value="cell" background="#00c8ff"/><Label value="dead" background="red"/><Label value="x"/>'
    config = f"<View>{labels}</View>"
    colours = label_colours(config, ["cell", "dead", "x", None])
    assert colours["cell"] == (0, 200, 255) and colours["dead"] == (255, 0, 0)
    assert len(set(colours.values())) == 4


@pytest.mark.parametrize(
    "config",
    [
        "<View",
        "",
        '<!DOCTYPE x [<!ENTITY a "b">]><View><Label value="cell" background="&a;"/></View>',
        '<View><Label value="cell" background="url(javascript:alert(1))"/></View>',
        '<View><Label value="cell" background="hsl(0,200%,5"/></View>',
    ],
)
def test_what_is_no_colour_is_one_of_ours(config: str) -> None:
    (colour,) = label_colours(config, ["cell"]).values()
    assert len(colour) == 3 and all(0 <= part <= 255 for part in colour)
