import numpy as np
import pytest

from labeling.errors import RegionError
from labeling.regions.brush import brush_mask, brush_region

TAGS = {"from_name": "brush", "to_name": "image", "score": 0.5, "region_id": "r1"}


def test_a_region_is_what_label_studio_stores(square, recorded) -> None:
    region = brush_region(square, label="red", region_type="brushlabels", **TAGS)
    example = recorded("regions")["brush255"]
    assert region.keys() == example.keys() - {"origin"}
    assert region["value"].keys() == example["value"].keys()
    assert (region["original_width"], region["original_height"]) == (16, 12)
    assert np.array_equal(brush_mask(region), square)


def test_a_plain_brush_has_no_label(square) -> None:
    region = brush_region(square, label=None, region_type="brush", **TAGS)
    assert region["value"].keys() == {"format", "rle"}


def test_antialiased_edges_count_from_128(square) -> None:
    values = square.astype(np.uint8) * 255
    values[0, :4] = [1, 127, 128, 200]
    mask = brush_mask(brush_region(values, label="red", region_type="brushlabels", **TAGS))
    assert mask[0, :4].tolist() == [False, False, True, True]


@pytest.mark.parametrize("name", ["poly", "rect", "text", "bitmask_rgba", "bad_rle", "brush_no_dims"])
def test_what_holds_no_readable_mask_is_refused(recorded, name: str) -> None:
    with pytest.raises(RegionError):
        brush_mask(recorded("regions")[name])


@pytest.mark.parametrize("width", ["640", 640.0, True, None])
def test_sizes_must_be_whole_numbers(recorded, width: object) -> None:
    with pytest.raises(RegionError, match="whole numbers"):
        brush_mask({**recorded("regions")["brush255"], "original_width": width})
