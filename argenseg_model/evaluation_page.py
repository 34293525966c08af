"""An evaluation for people: figures by label and size, and the worst answers as pictures, in one HTML file."""

import base64
import heapq
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from argenseg_model.manifest import ManifestItem
from argenseg_model.metrics import iou
from argenseg_model.overlays import draw_overlay

COLUMNS: Final = {
    "items": "items",
    "ciou": "cIoU",
    "giou": "gIoU",
    "boundary_iou": "boundary IoU",
    "object_f1": "object F1",
    "absent_items": "absent",
    "false_positives": "drawn all the same",
}
_SIDE: Final = 320


@dataclass(frozen=True, order=True)
class Case:
    """An answer, the better the greater; `truth` and `answer` are pictures as data URLs."""

    iou: float
    number: int
    image: str = field(compare=False)
    prompt: str = field(compare=False)
    truth: str = field(compare=False)
    answer: str = field(compare=False)


class WorstCases:
    """Keeps the `most` answers of the lowest IoU, for `evaluate`'s `on_answer`; those that are right never."""

    def __init__(self, most: int) -> None:
        self._most, self._number = most, 0
        self._kept: list[tuple[float, int, Case]] = []  # a heap whose first is the best of them

    def __call__(self, item: ManifestItem, pixels: np.ndarray, mask: np.ndarray) -> None:
        truth, self._number = item.decode_mask(), self._number + 1
        value = iou(mask, truth)
        if value == 1 or (len(self._kept) == self._most and (not self._kept or -value <= self._kept[0][0])):
            return
        pictures = (_data_url(draw_overlay(Image.fromarray(pixels), drawn)) for drawn in (truth, mask))
        case = Case(value, self._number, item.image, item.prompt, *pictures)
        keep = heapq.heappush if len(self._kept) < self._most else heapq.heapreplace
        keep(self._kept, (-value, -self._number, case))

    def sorted(self) -> list[Case]:
        """The worst first."""
        return sorted(case for _, _, case in self._kept)


def groups_of(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The rows of the table: all items, then by label, then by size."""
    return {"all": summary, **summary["by_label"], **summary["by_size"]}


def figure_text(value: float | int | None) -> str:
    """A count as it is, a share with three digits, nothing as a dash."""
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"


def evaluation_page(title: str, summary: Mapping[str, Any], worst: Sequence[Case]) -> str:
    """The HTML."""
    environment = Environment(
        loader=PackageLoader("argenseg_model"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["figure"] = figure_text
    template = environment.get_template("evaluation.html")
    return template.render(title=title, summary=summary, groups=groups_of(summary), columns=COLUMNS, worst=worst)


def _data_url(picture: Image.Image) -> str:
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
