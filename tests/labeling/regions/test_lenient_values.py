"""Numbers and flags as other programs write them into regions: 40.0 is 40, null is not given."""

from typing import Any

import numpy as np
import pytest

from labeling.corrections.annotated_regions import read_regions
from labeling.errors import RegionError
from labeling.label_studio.messages import Task
from labeling.prompts.interaction import read_interaction
from labeling.prompts.label_config import parse_label_config
from labeling.regions.kinds import region_mask

BOX = {"x": 25, "y": 25, "width": 50, "height": 50}
TRIANGLE = {"points": [[10, 10], [90, 10], [10, 90]]}
ROUND = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 30}


def region(kind: str, value: dict[str, Any], **fields: Any) -> dict[str, Any]:
    size = {"original_width": 60, "original_height": 40, "image_rotation": 0}
    return {"id": "r", "type": kind, "from_name": "t", "to_name": "image", "value": value} | size | fields


@pytest.mark.parametrize(
    ("kind", "value", "null"),
    [("rectangle", BOX, "rotation"), ("ellipse", ROUND, "rotation"), ("polygon", TRIANGLE, "closed")],
)
def test_floats_and_nulls_of_a_region_read_as_what_they_mean(kind: str, value: dict[str, Any], null: str) -> None:
    expected = region_mask(region(kind, value))
    assert expected.any()
    np.testing.assert_array_equal(
        region_mask(region(kind, value | {null: None}, original_width=60.0, original_height=40.0)), expected
    )
    regions, unread = read_regions([region(kind, value, original_width=60.0, to_name=None)], "image")
    assert list(regions) == ["r"] and not unread


@pytest.mark.parametrize("width", [60.5, "60", True, float("nan"), float("inf"), None, -60.0])
def test_a_size_that_is_no_whole_number_is_still_refused(width: object) -> None:
    with pytest.raises(RegionError):
        region_mask(region("rectangle", BOX, original_width=width))


def test_a_smart_box_with_nulls_is_a_box() -> None:
    config = parse_label_config(
        '<View><Image name="image" value="$image"/>'
        '<BrushLabels name="b" toName="image"><Label value="a"/></BrushLabels>'
        '<RectangleLabels name="t" toName="image" smart="true"><Label value="a"/></RectangleLabels></View>'
    )
    drawn = region("rectanglelabels", BOX | {"rotation": None, "rectanglelabels": ["a"]}, to_name=None)
    found = read_interaction([drawn], config)
    assert found is not None and found.focus is not None and len(found.focus.boxes) == 1


def test_a_tasks_number_may_be_written_with_a_point() -> None:
    assert Task.model_validate({"id": 7.0, "data": {}}).id == 7
    for wrong in (7.5, "7", True):
        with pytest.raises(ValueError, match="id"):
            Task.model_validate({"id": wrong, "data": {}})
