"""Every kind of region, drawn and read back."""

import base64
import io
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_studio_sdk.label_interface.interface import LabelInterface
from PIL import Image

from labeling.errors import RegionError
from labeling.regions.kinds import (
    KINDS,
    READABLE_KINDS,
    DrawnRegion,
    draw_regions,
    most_regions,
    region_dict,
    region_mask,
)

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))
LOSSLESS = [kind for kind in KINDS if not kind.startswith("rectangle")]  # at tolerance 0


def as_region(drawn: DrawnRegion, kind: str) -> dict[str, Any]:
    label = "red" if kind.endswith("labels") else None
    tags: dict[str, Any] = {"kind": kind, "label": label, "from_name": "mask", "to_name": "image"}
    return region_dict(drawn, **tags, score=0.5, region_id="r1")


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


@pytest.mark.parametrize(("kind", "most"), [("polygon", 1000), ("brushlabels", 83), ("bitmask", 16)])
def test_a_page_bears_fewer_masks_than_outlines(kind: str, most: int) -> None:
    assert most_regions(kind, 4000, 3000) == most
    assert most_regions(kind, 640, 480) == (651 if kind == "bitmask" else 1000)
    assert most_regions(kind, 40_000, 30_000) >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_mask_gives_no_region(kind: str) -> None:
    assert draw_regions(kind, np.zeros((4, 5), np.bool_)) == []


def test_a_plain_tag_has_no_label(square) -> None:
    (drawn,) = draw_regions("brush", square)
    assert as_region(drawn, "brush")["value"].keys() == {"format", "rle"}
    with pytest.raises(RegionError, match="carries no label"):
        region_dict(drawn, kind="brush", label="red", from_name="a", to_name="b", score=None, region_id="1")


@pytest.mark.parametrize(
    "mask", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2), np.bool_), np.zeros((0, 3), np.bool_)]
)
def test_what_is_no_mask_is_not_drawn(mask: np.ndarray) -> None:
    with pytest.raises(RegionError):
        draw_regions("polygon", mask)


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_number_from_0_on(square, tolerance: float) -> None:
    with pytest.raises(RegionError, match="tolerance"):
        draw_regions("polygon", square, tolerance=tolerance)


LABEL_CONFIG = "".join(
    f'<{tag}Labels name="{tag}l" toName="image"><Label value="red"/></{tag}Labels><{tag} name="{tag}p" toName="image"/>'
    for tag in ("Brush", "Bitmask", "Polygon", "Vector", "Rectangle")
)


@pytest.mark.parametrize("kind", KINDS)
def test_label_studio_sdk_finds_nothing_wrong(square, kind: str) -> None:
    interface = LabelInterface(f'<View><Image name="image" value="$image"/>{LABEL_CONFIG}</View>')
    name = kind.removesuffix("labels").capitalize() + ("l" if kind.endswith("labels") else "p")
    regions = [{**as_region(drawn, kind), "from_name": name} for drawn in draw_regions(kind, square)]
    prediction = {"result": regions, "score": 0.5, "model_version": "v1"}
    assert interface.validate_prediction(prediction, return_errors=True) == []


def test_recorded_regions_show_the_same_ball(recorded) -> None:
    """One ellipse was recorded as polygon and as vector; the bitmask shows another of the same size."""
    bitmask, polygon, vector = (region_mask(recorded("regions")[name]) for name in ("bitmask_rgba", "poly", "vector"))
    assert np.array_equal(polygon, vector)
    assert bitmask.sum() == pytest.approx(polygon.sum(), rel=0.02)


def test_rectangles_are_turned_clockwise_about_their_top_left_corner() -> None:
    value = {"x": 50, "y": 20, "width": 20, "height": 10, "rotation": 90}
    region = {"id": "1", "type": "rectangle", "original_width": 100, "original_height": 200, "value": value}
    rows, columns = np.nonzero(region_mask(region))
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (30, 50, 40, 60)


def test_ellipses_are_turned_clockwise_about_their_centre() -> None:
    """Recorded: an ellipse that an annotator drew, and turned by its handle."""
    x, y, radius_x, radius_y, rotation = 40.50494, 50.08782, 18.99012, 14.22613, 61.47043
    value = {"x": x, "y": y, "radiusX": radius_x, "radiusY": radius_y, "rotation": rotation}
    size = {"original_width": 320, "original_height": 200}
    mask = region_mask({**size, "id": "NCcRgQ4pvn", "type": "ellipselabels", "value": value})
    rows, columns = np.mgrid[:200, :320] + 0.5
    across, down = columns - x * 3.2, rows - y * 2
    cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    along, beside = (across * cos + down * sin) / (radius_x * 3.2), (down * cos - across * sin) / (radius_y * 2)
    assert (mask != (along**2 + beside**2 < 1)).sum() <= 1  # it is read as a polygon


def test_how_the_page_had_the_image_turned_changes_nothing() -> None:
    """Recorded: a box drawn from 55 %, 60 % to 70 %, 80 % of an image that was turned to the left on the page."""
    corner = {"x": 54.99451152579582, "y": 59.934138309549944}
    value = {**corner, "width": 15.038419319429188, "height": 20.13172338090012, "rotation": 0}
    size = {"original_width": 420, "original_height": 300, "image_rotation": 270}
    rows, columns = np.nonzero(region_mask({**size, "id": "EFStw6Wu8m", "type": "rectanglelabels", "value": value}))
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (231, 294, 180, 240)


def test_what_an_annotator_drew_over_the_image_is_cut_off(recorded) -> None:
    rows, columns = np.nonzero(region_mask(recorded("regions")["rect_oob"]))
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (64, 640, 96, 336)


def vector_region(vertices: list[dict[str, Any]], **value: Any) -> dict[str, Any]:
    value = {"vertices": vertices, "closed": True, **value}
    return {"id": "1", "type": "vector", "original_width": 100, "original_height": 100, "value": value}


def vertex(name: str, x: float, y: float, previous: str | None, **curve: Any) -> dict[str, Any]:
    return {"id": name, "x": x, "y": y, "prevPointId": previous, "isBezier": bool(curve), **curve}


def test_vertices_follow_their_path_not_their_place_in_the_list() -> None:
    a, b, c, d = (vertex("a", 0, 0, None), vertex("b", 50, 0, "a"), vertex("c", 50, 50, "b"), vertex("d", 0, 50, "c"))
    assert region_mask(vector_region([a, c, d, b])).sum() == 2500
    assert region_mask(vector_region([{**a, "prevPointId": "d"}, b, c, d])).sum() == 2500


def test_a_vector_is_closed_where_its_first_vertex_follows_its_last() -> None:
    """Whatever `closed` says: for tags without closable="true" Label Studio 1.23 writes false into every vector."""
    b, c = vertex("b", 50, 0, "a"), vertex("c", 50, 50, "b")
    square = [vertex("a", 0, 0, "d"), b, c, vertex("d", 0, 50, "c")]
    assert region_mask(vector_region(square, closed=False)).sum() == 2500
    with pytest.raises(RegionError, match="not closed"):
        region_mask(vector_region([vertex("a", 0, 0, None), b, c], closed=False))


def test_curves_are_filled() -> None:
    """Four Bézier curves that make a circle of radius 40."""
    corners = [(50, 10), (90, 50), (50, 90), (10, 50)]
    vertices = []
    for index, (x, y) in enumerate(corners):
        across = [(22.09, 0), (0, 22.09), (-22.09, 0), (0, -22.09)][index]
        before, after = ({"x": x + sign * across[0], "y": y + sign * across[1]} for sign in (-1, 1))
        vertices.append(vertex(f"v{index}", x, y, f"v{(index - 1) % 4}", controlPoint1=before, controlPoint2=after))
    assert region_mask(vector_region(vertices)).sum() == pytest.approx(np.pi * 40**2, rel=0.005)


def test_a_curve_with_one_handle_leaves_its_other_vertex_along_the_straight_line() -> None:
    """As Label Studio 1.23 draws it: the missing handle is three tenths of the line away from its own vertex."""
    a, c = vertex("a", 10, 90, "c"), vertex("c", 90, 90, "b")
    b = vertex("b", 50, 10, "a", controlPoint1={"x": 10, "y": 10}, controlPoint2={"x": 90, "y": 10})
    at_a, at_c = ({"x": corner["x"], "y": corner["y"]} for corner in (a, c))  # between a and c the line stays straight
    whole_a = vertex("a", 10, 90, "c", controlPoint1=at_a, controlPoint2={"x": 22, "y": 66})
    whole_c = vertex("c", 90, 90, "b", controlPoint1={"x": 78, "y": 66}, controlPoint2=at_c)
    assert np.array_equal(region_mask(vector_region([a, b, c])), region_mask(vector_region([whole_a, b, whole_c])))


def test_a_path_whose_first_vertex_was_deleted_is_closed_by_a_straight_line() -> None:
    """The next one follows none, so the page draws no curve to it: not even from a last vertex that has handles."""
    along, away = {"x": 62, "y": 34}, {"x": 10, "y": 10}  # on the line to b; beside the line to a
    b, c = vertex("b", 90, 90, "a"), vertex("c", 50, 10, "b", controlPoint1=along, controlPoint2=away)
    triangle = region_mask(vector_region([vertex("a", 10, 90, "c"), b, vertex("c", 50, 10, "b")]))
    assert np.array_equal(region_mask(vector_region([vertex("a", 10, 90, None), b, c])), triangle)
    assert region_mask(vector_region([vertex("a", 10, 90, "c"), b, c])).sum() > triangle.sum() * 1.1


def png_url(picture: Image.Image, **options: Any) -> str:
    png = io.BytesIO()
    picture.save(png, "PNG", **options)
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_bitmasks_of_other_programs(mode: str) -> None:
    alpha = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgba = Image.fromarray(np.dstack([np.full((16, 16, 3), 77, np.uint8), alpha]))
    picture = rgba.quantize(256) if mode == "P" else rgba.convert(mode)
    region = {
        "type": "bitmask",
        "original_width": 16,
        "original_height": 16,
        "value": {"imageDataURL": png_url(picture)},
    }
    opaque = np.asarray(picture.convert("RGBA"))[..., 3] >= 128
    assert np.array_equal(region_mask(region), opaque)


@pytest.mark.parametrize("transparency", [0, 1, 2, b"\x00\xff", b"\xff\x7f\x80", b""])
def test_bitmasks_with_a_palette(transparency: int | bytes) -> None:
    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 3, mode="P")
    picture.putpalette([9, 9, 9] * 3)
    url = png_url(picture, transparency=transparency)
    region = {"type": "bitmask", "original_width": 4, "original_height": 3, "value": {"imageDataURL": url}}
    png = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    if png.has_transparency_data:
        assert np.array_equal(region_mask(region), np.asarray(png.convert("RGBA"))[..., 3] >= 128)


def huge_png() -> str:
    """A few kB that claim 20,000 x 20,000 px."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    size = (20_000).to_bytes(4, "big")
    header = chunk(b"IHDR", size + size + bytes([8, 6, 0, 0, 0]))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()


NAN = float("nan")
TRIANGLE = [[10, 10], [50, 10], [50, 50]]
VERTICES = [vertex("a", 0, 0, None), vertex("b", 50, 0, "a"), vertex("c", 50, 50, "b")]
HOSTILE: list[tuple[str, Any]] = [
    ("polygon", None),
    ("polygon", []),
    ("polygon", {}),
    ("polygon", {"points": TRIANGLE, "closed": False}),
    ("polygon", {"points": TRIANGLE[:2]}),
    ("polygon", {"points": [[10, 10], [50, 10], [NAN, 50]]}),
    ("polygon", {"points": [[10, 10], [50, 10], [1e300, 50]]}),
    ("polygon", {"points": [[10, 10], [50, 10], [10**400, 50]]}),
    ("polygon", {"points": [[10, 10], [50, 10], ["50", 50]]}),
    ("polygon", {"points": [[10, 10], [50, 10], [True, 50]]}),
    ("polygon", {"points": [[10, 10], [50, 10], [50]]}),
    ("polygon", {"points": [[10, 10], [50, 10], 5]}),
    ("polygon", {"points": "abc"}),
    ("polygon", {"points": [[1, 1]] * 1_000_001}),
    ("polygon", {"points": [[0, 0], [1, 100]] * 400_000}),
    ("vector", {"closed": True}),
    ("vector", {"vertices": VERTICES}),
    ("vector", {"vertices": VERTICES, "closed": False}),
    ("vector", {"vertices": VERTICES[:2], "closed": True}),
    ("vector", {"vertices": [*VERTICES, vertex("d", 1, 1, "b")], "closed": True}),
    ("vector", {"vertices": [*VERTICES, vertex("c", 1, 1, "c")], "closed": True}),
    ("vector", {"vertices": [*VERTICES, vertex("d", 1, 1, "nowhere")], "closed": True}),
    ("vector", {"vertices": [*VERTICES[:2], vertex("c", NAN, 1, "b")], "closed": True}),
    ("vector", {"vertices": [*VERTICES[:2], vertex("c", 1, 1, "b", controlPoint1=5)], "closed": True}),
    ("vector", {"vertices": [*VERTICES[:2], vertex("c", 1, 1, "b", controlPoint2={"x": 1})], "closed": True}),
    ("vector", {"vertices": [*VERTICES[:2], {"x": 1, "y": 1}], "closed": True}),
    ("vector", {"vertices": [1, 2, 3], "closed": True}),
    (
        "vector",
        {
            "vertices": [vertex(str(i), 1, 1, str(i - 1), controlPoint1={"x": 1, "y": 1}) for i in range(20_000)],
            "closed": True,
        },
    ),
    ("rectangle", {"x": 1, "y": 1, "width": 5}),
    ("rectangle", {"x": 1, "y": 1, "width": 5, "height": NAN}),
    ("rectangle", {"x": 1, "y": 1, "width": 5, "height": -5}),
    ("rectangle", {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": "90"}),
    ("rectangle", {"x": 1, "y": 1, "width": 1e9, "height": 5}),
    ("ellipse", {"x": 1, "y": 1, "radiusX": 5}),
    ("ellipse", {"x": 1, "y": 1, "radiusX": 5, "radiusY": NAN}),
    ("ellipse", {"x": 1, "y": 1, "radiusX": 5, "radiusY": 5, "rotation": "a little"}),
    ("bitmask", {}),
    ("bitmask", {"imageDataURL": 5}),
    ("bitmask", {"imageDataURL": "https://example.com/mask.png"}),
    ("bitmask", {"imageDataURL": "data:image/png;base64,%%%"}),
    ("bitmask", {"imageDataURL": "data:image/png;base64,ÄÖ"}),
    ("bitmask", {"imageDataURL": "data:image/png;base64,aGFsbG8="}),
    ("bitmask", {"imageDataURL": png_url(Image.new("L", (1000, 1000), 255))}),
    ("bitmask", {"imageDataURL": png_url(Image.new("LA", (1000, 999), 255))}),
    ("bitmask", {"imageDataURL": png_url(Image.new("LA", (1000, 1000), 255))[:-200]}),
    ("bitmask", {"imageDataURL": huge_png()}),
    ("brush", {"format": "rle", "rle": "abc"}),
    ("brush", {"format": "rle"}),
    ("brush", {"rle": [0] * 50}),
    ("keypoint", {"x": 1, "y": 1, "width": 1}),
    ("labels", {"points": TRIANGLE}),
    ("", {}),
]


@pytest.mark.parametrize(
    ("kind", "value"), HOSTILE, ids=lambda each: f"{each!r:.60}" if not isinstance(each, str) else each
)
def test_hostile_regions_are_refused_soon_and_in_little_memory(kind: str, value: Any) -> None:
    region = {"id": "1", "type": kind, "original_width": 1000, "original_height": 1000, "value": value}
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(RegionError) as error:
            region_mask(region)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 20
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("size", [0, -5, "640", 640.5, True, None, NAN, 1 << 40, 10**30])
def test_hostile_sizes_are_refused(size: object) -> None:
    region = {"id": "1", "type": "polygon", "original_width": size, "original_height": 9, "value": {"points": TRIANGLE}}
    with pytest.raises(RegionError, match=r"whole numbers|pixels"):
        region_mask(region)


def test_a_huge_bitmask_is_refused_by_its_size_alone() -> None:
    region = {"id": "1", "type": "bitmask", "original_width": 20_000, "original_height": 20_000}
    with pytest.raises(RegionError, match="pixels"):
        region_mask({**region, "value": {"imageDataURL": huge_png()}})


@pytest.mark.parametrize("name", ["kp", "text", "bitmask_gray", "brush_no_dims", "bad_rle"])
def test_recorded_regions_that_hold_no_readable_mask(recorded, name: str) -> None:
    with pytest.raises(RegionError):
        region_mask(recorded("regions")[name])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "y", "id", "points"]), inner),
    max_leaves=8,
)
BOX = ["x", "y", "width", "height", "radiusX", "radiusY", "rotation"]
KEYS = [*BOX, "points", "closed", "vertices", "rle", "format", "imageDataURL"]


@given(st.sampled_from(READABLE_KINDS), st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_value_is_a_mask_or_a_region_error(kind: str, value: dict[str, Any]) -> None:
    region = {"id": "1", "type": kind, "original_width": 7, "original_height": 5, "value": value}
    try:
        mask = region_mask(region)
    except RegionError:
        return
    assert mask.shape == (5, 7) and mask.dtype == np.bool_
