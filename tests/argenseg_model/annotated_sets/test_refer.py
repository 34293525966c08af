"""RefCOCO's references as items, from a pickle that can run no code."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argenseg_model.annotated_sets import read_annotated_set
from argenseg_model.manifest import ManifestError

REFERENCES = [
    {"ref_id": 0, "ann_id": 11, "split": "val", "sentences": [{"sent": "the right cat"}, {"sent": "right one"}]},
    {"ref_id": 1, "ann_id": 10, "split": "testA", "sentences": [{"sent": "the left cat"}]},
    {"ref_id": 2, "ann_id": 77, "split": "val", "sentences": [{"sent": "no such thing"}]},
]


@pytest.fixture
def folder(coco: dict[str, Any], tmp_path: Path) -> Path:
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(REFERENCES, protocol=2))
    return tmp_path


def test_each_sentence_is_a_prompt_about_its_object(folder: Path) -> None:
    read = read_annotated_set(folder / "refs(unc).p", part="val")
    assert [item.prompt for item in read.manifest.items] == ["the right cat", "right one"]
    expected = np.zeros((6, 8), bool)
    expected[:, 7] = True
    assert all(np.array_equal(item.decode_mask(), expected) for item in read.manifest.items)
    assert {item.label for item in read.manifest.items} == {"cat"}
    [problem] = read.problems
    assert "reference 2 is left out" in problem


def test_references_in_json_are_the_same(folder: Path) -> None:
    (folder / "refs.json").write_text(json.dumps(REFERENCES))
    one, other = (read_annotated_set(folder / name).manifest.items for name in ("refs.json", "refs(unc).p"))
    assert one == other
    assert len(one) == 3


def test_an_unknown_part_is_told_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(ManifestError, match="has no part 'test'; it has testA, val"):
        read_annotated_set(folder / "refs(unc).p", part="test")


def test_a_pickle_with_code_is_refused_unread(folder: Path) -> None:
    (folder / "refs(unc).p").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(ManifestError, match=r"names code, os\.system"):
        read_annotated_set(folder / "refs(unc).p")
