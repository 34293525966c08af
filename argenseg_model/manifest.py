"""A training set on disk: a jsonl file, one line for each image and prompt, with the images beside it (no torch).

    {"image": "images/3f/3fa9….png", "width": 640, "height": 480, "prompt": "all nuclei",
     "mask": {"size": [480, 640], "counts": "…"}, "weight": 1.0, "split": "train", "source": "correction:17",
     "label": "nucleus", "group": "p-81c3"}

A mask is COCO's compressed run-length encoding (pycocotools), null where the prompt's object is not in the picture.
Files are read strictly, because they travel between machines: every field is checked, and no image may lie elsewhere.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pycocotools import mask as coco
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from argenseg_model.errors import ARGenSegError
from argenseg_model.files import replace_file
from argenseg_model.images import MAX_PIXELS
from argenseg_model.prompting import MAX_PROMPT_CHARACTERS

MAX_LINE_BYTES: Final = 16 * 2**20
MAX_ITEMS: Final = 1_000_000

Split = Literal["train", "holdout"]
Side = Annotated[int, Field(ge=1, le=MAX_PIXELS)]
Name = Annotated[str, Field(min_length=1, max_length=500)]


class ManifestError(ARGenSegError):
    """A manifest, or an image that it names, cannot be used; the message names file, line and field."""


def _inside(path: str) -> str:
    """Only a plain relative path that means the same on every system."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or str(pure) != path or ".." in pure.parts or any(c in path for c in "\0\\:"):
        raise ValueError("must be a relative path inside the manifest's folder, with / between its parts")
    return path


@checked_dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class CompressedMask:
    """COCO's compressed RLE: `size` is [height, width], `counts` the runs of a column after a column."""

    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    counts: Annotated[str, Field(max_length=MAX_LINE_BYTES)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        runs = _runs(self.counts)
        height, width = self.size
        if height * width > MAX_PIXELS or (runs < 0).any() or runs.sum() != height * width:
            raise ValueError(f"counts do not make a mask of size {self.size}")
        return self


@checked_dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class ManifestItem:
    """One image with one prompt and its answer. ValueError (pydantic's ValidationError) names the field that is wrong.

    Attributes:
        image: path of the image file, relative to the manifest's folder.
        width, height: of the upright image, px.
        mask: the answer; None for an empty one.
        weight: how much it counts in training, 1 is usual.
        split: "holdout" is never trained on.
        source: where it comes from: "correction:ID", "negative:…" (an absent label), "replay:…" (older or base data).
        label: the label it belongs to, for the evaluation's tables; None where there is none.
        group: near-duplicate images share it; all of a group are on one side.
    """

    image: Annotated[Name, AfterValidator(_inside)]
    width: Side
    height: Side
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
    mask: CompressedMask | None
    weight: Annotated[float, Field(gt=0, le=1000)]
    split: Split
    source: Name
    label: Name | None
    group: Name

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width * self.height > MAX_PIXELS:
            raise ValueError(f"width x height is more than the {MAX_PIXELS:,} pixels allowed")
        if not self.prompt.strip():
            raise ValueError("prompt is blank")
        if self.mask is not None and self.mask.size != [self.height, self.width]:
            raise ValueError(f"mask.size is {self.mask.size}, not [height, width]")
        return self

    @property
    def is_replay(self) -> bool:
        """Whether it is older or base data, on which the model must not get worse."""
        return self.source.split(":")[0] == "replay"

    def decode_mask(self) -> np.ndarray:
        """The answer, (height, width) bool."""
        return np.zeros((self.height, self.width), bool) if self.mask is None else decode_mask(self.mask)


_ITEM: Final = TypeAdapter(ManifestItem)


def encode_mask(mask: np.ndarray) -> CompressedMask | None:
    """(H, W) bool -> COCO's compressed RLE; None if it is empty."""
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"a mask is (H, W) of bool, not {mask.shape} of {mask.dtype}; threshold it first")
    if not mask.any():
        return None
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return CompressedMask(size=[int(side) for side in encoded["size"]], counts=encoded["counts"].decode())


def decode_mask(mask: CompressedMask) -> np.ndarray:
    """COCO's compressed RLE -> (H, W) bool."""
    runs, (height, width) = _runs(mask.counts), mask.size
    return np.ascontiguousarray(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T)


@dataclass(frozen=True)
class Manifest:
    """Items in the order of the file, and the folder that their images are relative to."""

    folder: Path
    items: tuple[ManifestItem, ...]

    @classmethod
    def read(cls, path: str | Path) -> "Manifest":
        """Read a manifest whole. ManifestError names the line and the field at fault."""
        path = Path(path)
        try:
            with path.open("rb") as lines:
                items = tuple(_read_items(lines, path))
        except OSError as error:
            raise ManifestError(f"{path}: the manifest cannot be read ({error.strerror}); check the path") from error
        return cls(path.absolute().parent, items)

    @staticmethod
    def write(path: str | Path, items: Iterable[ManifestItem]) -> "Manifest":
        """Write the file whole or not at all; its images are the caller's. ManifestError as for `read`."""
        written: list[ManifestItem] = []
        write_items(path, (written.append(item) or item for item in items))  # type: ignore[func-returns-value]
        return Manifest(Path(path).absolute().parent, tuple(written))

    def digest(self) -> str:
        """SHA-256 (hex) of all lines. Images count by their paths: name them by their content."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(line_of(item))
        return digest.hexdigest()

    def split(self, split: Split) -> "Manifest":
        """The items of one side."""
        return replace(self, items=tuple(item for item in self.items if item.split == split))

    def image_path(self, item: ManifestItem) -> Path:
        """The image's file. ManifestError if it is missing, or a link out of the manifest's folder."""
        path = (self.folder / item.image).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise ManifestError(f"{item.image}: leads out of {self.folder}; copy the image into that folder")
        if not path.is_file():
            raise ManifestError(f"{path}: the manifest names this image, but there is no such file")
        return path


def write_items(path: str | Path, items: Iterable[ManifestItem]) -> None:
    """`Manifest.write` of more items than fit into memory."""
    path = Path(path)
    check = _Consistency(path)
    with replace_file(path) as partial, partial.open("wb") as file:
        for number, item in enumerate(items, 1):
            check.add(number, item)
            file.write(line_of(item))


class _Consistency:
    """What must hold between items: one size, group and side for an image, one side for a group, no prompt twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._images: dict[str, tuple[int, int, str, str]] = {}
        self._groups: dict[str, str] = {}
        self._asked: set[tuple[str, str]] = set()

    def add(self, number: int, item: ManifestItem) -> None:
        facts = (item.width, item.height, item.group, item.split)
        if self._images.setdefault(item.image, facts) != facts:
            raise self._error(number, f"image {item.image!r} has another width, height, group or split further up")
        if self._groups.setdefault(item.group, item.split) != item.split:
            raise self._error(number, f"group {item.group!r} is in both splits; what is measured would be trained on")
        if (item.image, item.prompt) in self._asked:
            raise self._error(number, f"image {item.image!r} has the prompt {item.prompt!r} further up; keep one")
        self._asked.add((item.image, item.prompt))
        if number > MAX_ITEMS:
            raise self._error(number, f"more than {MAX_ITEMS:,} lines; make several training sets")

    def _error(self, number: int, reason: str) -> ManifestError:
        return ManifestError(f"{self._path}, line {number}: {reason}")


def _read_items(lines: Any, path: Path) -> Iterator[ManifestItem]:
    check, number = _Consistency(path), 0
    while line := lines.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise ManifestError(f"{path}, line {number}: longer than {MAX_LINE_BYTES:,} bytes; is this a manifest?")
        try:
            item = _ITEM.validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"])) or "the whole line"
            raise ManifestError(f"{path}, line {number}, {field}: {first['msg']}") from None
        check.add(number, item)
        yield item


def line_of(item: ManifestItem) -> bytes:
    """The item as the file has it."""
    return _ITEM.dump_json(item) + b"\n"


def _runs(counts: str) -> np.ndarray:
    """COCO's counts (`rleFrString` of cocoapi) as run lengths, int64; ValueError for what no encoder writes.

    Six bits a character from "0" on: five of the number, low ones first, and whether more follow; signed. From the
    fourth run on, a number is the difference to the last run but one.
    """
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not len(codes):
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(~codes & 0x20)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (codes < 0).any() or (codes > 0x3F).any() or not len(ends) or ends[-1] != len(codes) - 1:
        raise ValueError("counts are not COCO's compressed runs")
    place = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 6:  # 35 bits: more than any image has pixels
        raise ValueError("counts hold a number that is too large")
    runs = np.add.reduceat((codes & 0x1F) << (5 * place), starts)
    runs -= np.where(codes[ends] & 0x10, 1 << (5 * (place[ends] + 1)), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
