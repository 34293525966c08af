"""COCO's instances as items: what is there, what is not, and what cannot be used."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argenseg_model.annotated_sets import AnnotatedSet, read_annotated_set
from argenseg_model.manifest import ManifestError


def read(folder: Path, content: Any) -> AnnotatedSet:
    (folder / "set.json").write_text(json.dumps(content))
    return read_annotated_set(folder / "set.json")


def test_objects_of_a_category_make_one_mask(coco: dict[str, Any], tmp_path: Path) -> None:
    read_set = read(tmp_path, coco)
    [cats] = [item for item in read_set.manifest.items if (item.image, item.prompt) == ("images/a.png", "cat")]
    expected = np.zeros((6, 8), bool)
    expected[:3, :4] = expected[:, 7] = True
    assert np.array_equal(cats.decode_mask(), expected)
    assert (cats.label, cats.split) == ("cat", "holdout")
    assert read_set.problems == ()
    assert read_set.manifest.image_path(cats) == tmp_path / "images" / "a.png"


def test_categories_without_objects_are_asked_for_with_an_empty_mask(coco: dict[str, Any], tmp_path: Path) -> None:
    items = read(tmp_path, coco).manifest.items
    asked = {(item.image, item.prompt) for item in items if item.mask is None}
    assert ("images/a.png", "cup") in asked
    assert sum(image == "b.png" for image, _ in asked) == 2


@pytest.mark.parametrize(
    "segmentation",
    [
        None, [], [[0, 0, 1, 1]], [[0, 0, 4, 0, 4]], [["x"] * 6], [[0, 0, 4, 0, float("inf"), 1]],
        {"size": [8, 6], "counts": [0, 48]}, {"size": [6, 8], "counts": [1]}, {"size": [6, 8], "counts": "~~"},
        {"size": [6, 8]}, "text",
    ],
)  # fmt: skip
def test_a_damaged_annotation_is_told_and_its_category_not_asked_for_there(
    coco: dict[str, Any], tmp_path: Path, segmentation: Any
) -> None:
    coco["annotations"][0]["segmentation"] = segmentation
    read_set = read(tmp_path, coco)
    assert not any((item.image, item.prompt) == ("images/a.png", "cat") for item in read_set.manifest.items)
    [problem] = read_set.problems
    assert problem.startswith("set.json, annotation 10 is left out: ")


def test_images_that_are_missing_or_lead_out_of_the_folder_are_told(coco: dict[str, Any], tmp_path: Path) -> None:
    coco["images"].append({"id": 3, "file_name": "none.png", "width": 4, "height": 4})
    coco["images"].append({"id": 4, "file_name": "../" + tmp_path.name + "/b.png", "width": 4, "height": 4})
    read_set = read(tmp_path, coco)
    assert {item.image for item in read_set.manifest.items} == {"images/a.png", "b.png"}
    assert ["image 3" in read_set.problems[0], "image 4" in read_set.problems[1]] == [True, True]


def test_many_problems_become_a_few_lines(coco: dict[str, Any], tmp_path: Path) -> None:
    coco["annotations"] += [{"id": number, "image_id": 99, "category_id": 1} for number in range(1000)]
    problems = read(tmp_path, coco).problems
    assert len(problems) < 30
    assert problems[-1].endswith("in all 1000 annotations.")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.PNG", b"\x89PNG", "is an image, no manifest"),
        ("a.json", b"{", "is no json"),
        ("a.json", b'{"images": []}', "has no list of categories"),
        ("a.json", b'{"images": [], "categories": [], "annotations": []}', "nothing in it can be used"),
        ("a.jsonl", b"\x89PNG", "line 1"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_annotated_set(tmp_path / name)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is a folder"):
        read_annotated_set(tmp_path)
