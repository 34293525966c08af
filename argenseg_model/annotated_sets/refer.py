"""RefCOCO's references (https://github.com/lichengunc/refer): sentences about objects of a COCO file beside them.

The published files are pickles. Theirs hold lists, dicts, numbers and texts; anything else in one is refused unread.
"""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from argenseg_model.annotated_sets.coco import read_images, segmentation_mask
from argenseg_model.annotated_sets.json_files import MAX_BYTES, read_json
from argenseg_model.annotated_sets.problems import Problems
from argenseg_model.manifest import ManifestError, ManifestItem, Split, encode_mask

INSTANCES_FILE: Final = "instances.json"


def read_references(path: Path, split: Split, part: str | None, problems: Problems) -> list[ManifestItem]:
    """An item for each sentence of the references of `part` ("val", "testA", ...; None for all).

    A sentence that was said of two objects of an image counts for the first.
    """
    references = _read_list(path)
    beside = path.parent / INSTANCES_FILE
    content = read_json(beside)
    if not isinstance(content, Mapping) or not isinstance(content.get("annotations"), list):
        raise ManifestError(f"{beside}: holds no annotations of COCO's; it belongs to {path.name}")
    images = read_images(beside, content, problems)
    annotations = {row.get("id"): row for row in content["annotations"] if isinstance(row, Mapping)}
    names = {row.get("id"): row.get("name") for row in content.get("categories", []) if isinstance(row, Mapping)}
    items: dict[tuple[str, str], ManifestItem] = {}
    parts = sorted({str(reference.get("split")) for reference in references})
    if part is not None and part not in parts:
        raise ManifestError(f"{path}: has no part {part!r}; it has {', '.join(parts)}")
    for reference in references:
        if part is not None and reference.get("split") != part:
            continue
        try:
            annotation = annotations.get(reference.get("ann_id"))
            if annotation is None or annotation.get("image_id") not in images:
                raise ValueError(f"annotation {reference.get('ann_id')!r} or its image is not in {INSTANCES_FILE}")
            file, width, height = images[annotation["image_id"]]
            mask = encode_mask(segmentation_mask(annotation.get("segmentation"), width, height))
            for sentence in _sentences(reference):
                item = ManifestItem(
                    image=file, width=width, height=height, prompt=sentence, mask=mask, weight=1.0, split=split,
                    source="refer", label=names.get(annotation.get("category_id")), group=file,
                )  # fmt: skip
                items.setdefault((file, sentence), item)
        except ValueError as error:
            problems.add(f"reference {reference.get('ref_id')!r}", error)
    return list(items.values())


def _sentences(reference: Mapping[str, Any]) -> list[str]:
    rows = reference.get("sentences")
    sentences = [row.get("sent") for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    if not sentences or not all(isinstance(sentence, str) for sentence in sentences):
        raise ValueError("it has no sentences")
    return sentences


def _read_list(path: Path) -> list[Mapping[str, Any]]:
    content = read_json(path) if path.suffix.lower() == ".json" else _read_pickle(path)
    if not isinstance(content, list) or not all(isinstance(row, Mapping) for row in content):
        raise ManifestError(f"{path}: is no list of references, as of RefCOCO; is it another file?")
    return content


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names code, {module}.{name}")


def _read_pickle(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ManifestError(f"{path}: larger than {MAX_BYTES:,} bytes; is it another file?")
        return _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except Exception as error:  # a damaged pickle makes the reader raise nearly anything
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(
            f"{path}: is no pickle of plain lists and texts ({str(error)[:100]}); fetch it again"
        ) from error
