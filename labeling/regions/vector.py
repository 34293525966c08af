"""Vector regions: like polygons, with vertices that have names and may be joined by Bézier curves."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.outlines import draw_outlines
from labeling.regions.percent import MAX_POINTS, points_to_percent, points_to_pixels, read_number
from labeling.regions.rasterize import fill_cropped

_CURVE_STEPS = 64  # straight lines that stand for a curve: 0.2 px off on an arc of 4,000 px
_MAX_CURVED_VERTICES = MAX_POINTS // _CURVE_STEPS

Vertex = dict[str, Any]


def draw(mask: CroppedMask, tolerance: float) -> list[dict[str, Any]]:
    """One value for each connected object; see `draw_outlines`. The first vertex follows the last: it is closed."""
    values = []
    for ring in draw_outlines(mask, tolerance):
        vertices = [
            {"id": f"v{index}", "x": x, "y": y, "prevPointId": f"v{(index - 1) % len(ring)}", "isBezier": False}
            for index, (x, y) in enumerate(points_to_percent(ring, mask.width, mask.height))
        ]
        values.append({"vertices": vertices, "closed": True})
    return values


def read(value: dict[str, Any], width: int, height: int) -> CroppedMask:
    """Pixels whose centre is inside.

    RegionError where the vertices are malformed, are not one path, or the path is open.
    """
    path = _in_order(value.get("vertices"))
    is_ring = path[0].get("prevPointId") == path[-1]["id"]
    # Of a tag without closable="true" Label Studio 1.23 calls every vector open, also those that nobody touched; the
    # page draws them by their prevPointId, closed.
    if value.get("closed") is not True and not is_ring:
        raise RegionError("The vector is not closed, so it has no inside.")
    if not any(vertex.get("isBezier") for vertex in path):
        return fill_cropped([points_to_pixels([_xy(vertex) for vertex in path], width, height)], width, height)
    if len(path) > _MAX_CURVED_VERTICES:
        raise RegionError(f"The vector has curves and more than {_MAX_CURVED_VERTICES:,} vertices.")
    sides = [_curve(start, end) for start, end in pairwise([*path, path[0]])]
    if not is_ring:  # its first vertex was deleted: the page closes what is left by a straight line
        last, *_, first = sides[-1]
        sides[-1] = [last, last, first, first]
    curves = points_to_pixels([point for side in sides for point in side], width, height).reshape(-1, 4, 2)
    t = np.arange(_CURVE_STEPS)[:, None] / _CURVE_STEPS
    weights = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])  # (4, steps, 1)
    return fill_cropped([np.einsum("cpx,pso->csx", curves, weights).reshape(-1, 2)], width, height)


def numbers(value: dict[str, Any]) -> NDArray[np.float64] | None:
    """The vertices, (n, 2) in percent; None if curves join them. KeyError, … for other values and malformed ones."""
    vertices = value["vertices"]
    is_curved = any(vertex.get("isBezier") for vertex in vertices)
    return None if is_curved else np.array([[vertex["x"], vertex["y"]] for vertex in vertices], np.float64)


def _in_order(vertices: Any) -> list[Vertex]:
    """The vertices along the path that their prevPointId makes."""
    if not isinstance(vertices, list) or not 3 <= len(vertices) <= MAX_POINTS:
        raise RegionError(f"A vector must have a list of 3 to {MAX_POINTS:,} vertices.")
    by_id: dict[str, Vertex] = {}
    following: dict[str, str] = {}
    for vertex in vertices:
        if not isinstance(vertex, dict) or not isinstance(vertex.get("id"), str):
            raise RegionError("A vertex must have an id, a text.")
        by_id[vertex["id"]] = vertex
        previous = vertex.get("prevPointId")
        if isinstance(previous, str):
            following[previous] = vertex["id"]
    first = next((vertex["id"] for vertex in vertices if vertex.get("prevPointId") is None), vertices[0]["id"])
    path = [by_id[first]]
    while (name := following.get(path[-1]["id"])) in by_id and name != first and len(path) < len(vertices):
        path.append(by_id[name])
    if len(path) < len(vertices) or len(by_id) < len(vertices):
        raise RegionError("The vector's vertices are not one path: their prevPointId branch, break off or repeat.")
    return path


def _xy(point: Any) -> list[float]:
    if not isinstance(point, dict):
        raise RegionError("A vertex or its control point must have x and y.")
    return [read_number(point.get("x"), "A vertex's x"), read_number(point.get("y"), "A vertex's y")]


def _curve(start: Vertex, end: Vertex) -> list[list[float]]:
    """The four points of the curve that Label Studio draws from one vertex to the next."""
    here, there = _xy(start), _xy(end)
    leaving = _xy(start["controlPoint2"]) if start.get("isBezier") and start.get("controlPoint2") else None
    arriving = _xy(end["controlPoint1"]) if end.get("isBezier") and end.get("controlPoint1") else None
    if leaving is None and arriving is None:
        return [here, here, there, there]
    return [here, leaving or _towards(here, there), arriving or _towards(there, here), there]


def _towards(start: list[float], end: list[float]) -> list[float]:
    """What stands for the missing control point of `start`: three tenths of the way."""
    return [a + (b - a) * 0.3 for a, b in zip(start, end, strict=True)]
