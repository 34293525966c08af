"""Every kind of region, drawn and read back."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labeling.errors import RegionError
from labeling.regions.kinds import KINDS, DrawnRegion, draw_regions, region_dict, region_mask

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))
LOSSLESS = [kind for kind in KINDS if not kind.startswith("rectangle")]  # at tolerance 0


def as_region(drawn: DrawnRegion, kind: str) -> dict[str, Any]:
    height, width = drawn.mask.shape
    label = "red" if kind.endswith("labels") else None
    tags: dict[str, Any] = {"kind": kind, "label": label, "from_name": "mask", "to_name": "image"}
    return region_dict(drawn, **tags, score=0.5, region_id="r1", width=width, height=height)


@given(MASKS, st.sampled_from(KINDS), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_a_region_is_read_as_it_was_drawn(mask: np.ndarray, kind: str, tolerance: float) -> None:
    for drawn in draw_regions(kind, mask, tolerance=tolerance):
        assert drawn.mask.any(), "nothing that is drawn is empty"
        assert np.array_equal(region_mask(as_region(drawn, kind)), drawn.mask)


@given(MASKS, st.sampled_from(LOSSLESS))
def test_nothing_is_lost_at_tolerance_0(mask: np.ndarray, kind: str) -> None:
    drawn = draw_regions(kind, mask, tolerance=0)
    assert np.array_equal(np.logical_or.reduce([np.zeros_like(mask), *(region.mask for region in drawn)]), mask)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("brush255", "brushlabels"),
        ("bitmask_rgba", "bitmasklabels"),
        ("poly", "polygonlabels"),
        ("vector", "vectorlabels"),
        ("rect", "rectanglelabels"),
    ],
)
def test_regions_are_what_label_studio_stores(recorded, square, name: str, kind: str) -> None:
    (drawn,) = draw_regions(kind, square)
    region, example = as_region(drawn, kind), recorded("regions")[name]
    assert region.keys() - {"score"} == example.keys() - {"score", "origin"}
    assert region["value"].keys() == example["value"].keys()
    assert (region["original_width"], region["original_height"]) == (16, 12)
    assert np.array_equal(drawn.mask, square)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_mask_gives_no_region(kind: str) -> None:
    assert draw_regions(kind, np.zeros((4, 5), np.bool_)) == []


def test_a_plain_tag_has_no_label(square) -> None:
    (drawn,) = draw_regions("brush", square)
    assert as_region(drawn, "brush")["value"].keys() == {"format", "rle"}
    with pytest.raises(RegionError, match="carries no label"):
        region_dict(
            drawn, kind="brush", label="red", from_name="a", to_name="b", score=None, region_id="1", width=16, height=12
        )
