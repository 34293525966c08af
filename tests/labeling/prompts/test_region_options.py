from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.errors import LabelConfigError
from labeling.prompts.region_options import DEFAULT_OPTIONS, RegionOptions, read_options

ATTRIBUTES = ["instances", "min_area", "tolerance", "model_score_threshold", "overlaps"]


def read(**attributes: str) -> RegionOptions:
    return read_options(Element("BrushLabels", attributes), "<BrushLabels>", DEFAULT_OPTIONS)


def test_all_options() -> None:
    options = read(instances="True", min_area="20", tolerance="1.5", model_score_threshold=".5", overlaps="score")
    assert options == RegionOptions(True, 20, 1.5, 0.5, "score")
    label = Element("Label", {"instances": "false", "tolerance": "0", "min_area": " "})
    assert read_options(label, "<Label>", options) == RegionOptions(False, 20, 0.0, 0.5, "score")


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("instances", "yes", 'true or false, such as instances="true"'),
        ("min_area", "ten", 'whole number of pixels, such as min_area="20"'),
        ("min_area", "-1", "whole number"),
        ("min_area", "1.5", "whole number"),
        ("min_area", "٣", "whole number"),
        ("min_area", "9" * 5000, "whole number"),
        ("tolerance", "1px", "from 0 to 100"),
        ("tolerance", "nan", "from 0 to 100"),
        ("tolerance", "-0.1", "from 0 to 100"),
        ("tolerance", "1e9", "from 0 to 100"),
        ("model_score_threshold", "50%", "from 0 to 1"),
        ("model_score_threshold", "50", "from 0 to 1"),
        ("overlaps", "merge", '"keep"'),
    ],
)
def test_a_bad_value_is_refused_with_advice(name: str, value: str, advice: str) -> None:
    with pytest.raises(LabelConfigError, match=advice) as refusal:
        read(**{name: value})
    assert str(refusal.value).startswith(f'<BrushLabels> has {name}="{value[:40]}": ')
    assert len(str(refusal.value)) < 200


@given(st.sampled_from(ATTRIBUTES), st.text())
def test_any_value_is_read_or_refused(name: str, value: str) -> None:
    try:
        options = read(**{name: value})
    except LabelConfigError:
        return
    assert options.min_area >= 0 and 0 <= options.tolerance <= 100 and 0 <= options.score_threshold <= 1
