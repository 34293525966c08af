"""Manifests: what is written is read, what is wrong is named by line and field, nothing leaves the folder."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco

from argenseg_model.manifest import Manifest, ManifestError, ManifestItem, decode_mask, encode_mask


def item(**fields: Any) -> ManifestItem:
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    usual = {"image": "images/a.png", "width": 8, "height": 6, "prompt": "cells", "mask": encode_mask(mask),
             "weight": 1.0, "split": "train", "source": "correction:1", "label": "cell", "group": "g1"}  # fmt: skip
    return ManifestItem(**(usual | fields))


def line(**fields: Any) -> dict[str, Any]:
    usual = {"image": "a.png", "width": 8, "height": 6, "prompt": "cells", "mask": None, "weight": 1.0,
             "split": "train", "source": "replay", "label": None, "group": "g"}  # fmt: skip
    return usual | fields


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_a_mask_comes_back(mask: np.ndarray) -> None:
    encoded = encode_mask(mask)
    if encoded is None:
        assert not mask.any()
    else:
        np.testing.assert_array_equal(decode_mask(encoded), mask)
        assert coco.area({"size": list(mask.shape), "counts": encoded.counts.encode()}) == mask.sum()


def test_long_runs_come_back() -> None:
    mask = np.zeros((3000, 3000), bool)
    mask[700:2500, 3:2998] = True
    np.testing.assert_array_equal(decode_mask(encode_mask(mask)), mask)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_no_counts_reach_the_decoder_that_do_not_fill_the_mask(counts: str) -> None:
    try:
        accepted = item(mask={"size": [6, 8], "counts": counts})
    except ValueError:
        return
    assert accepted.decode_mask().shape == (6, 8)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    items = [item(), item(prompt="dogs", mask=None, label=None), item(image="b.png", group="g2", split="holdout")]
    written = Manifest.write(tmp_path / "set.jsonl", items)
    assert (read := Manifest.read(tmp_path / "set.jsonl")) == written
    assert read.digest() == written.digest() != Manifest(tmp_path, tuple(items[:2])).digest()
    assert [one.prompt for one in read.split("train").items] == ["cells", "dogs"]
    assert read.items[0].decode_mask().sum() == 15
    assert not read.items[1].decode_mask().any()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"width": "8"}, "width"),
        ({"width": 0}, "width"),
        ({"height": True}, "height"),
        ({"width": 50_000, "height": 50_000}, "pixels"),
        ({"prompt": "  "}, "prompt"),
        ({"prompt": "x" * 3000}, "prompt"),
        ({"weight": 0}, "weight"),
        ({"weight": float("nan")}, "weight"),
        ({"split": "test"}, "split"),
        ({"mask": []}, "mask"),
        ({"mask": {"size": [8, 6], "counts": "`1"}}, "mask.size"),
        ({"mask": {"size": [6, 8], "counts": "`1`1"}}, "counts"),
        ({"mask": {"size": [6, 8], "counts": "😀"}}, "mask"),
        ({"surprise": 1}, "surprise"),
        ({"image": "../a.png"}, "image"),
        ({"image": "/etc/passwd"}, "image"),
        ({"image": "x/../../a.png"}, "image"),
        ({"image": "C:\\a.png"}, "image"),
        ({"image": "a\0.png"}, "image"),
        ({"image": ""}, "image"),
        ({"group": None}, "group"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, fields: dict[str, Any], named: str) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text(json.dumps(line()) + "\n" + json.dumps(line(image="b.png", group="h") | fields) + "\n")
    with pytest.raises(ManifestError, match=f"line 2.*{named}"):
        Manifest.read(file)


@pytest.mark.parametrize("text", ["{", "[]", "null", "", '{"image": "a.png"}', "[" * 100_000])
def test_a_line_that_is_no_item_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "set.jsonl").write_text(text + "\n")
    with pytest.raises(ManifestError, match="line 1"):
        Manifest.read(tmp_path / "set.jsonl")


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (line(), "keep one"),
        (line(prompt="dogs", split="holdout"), "image"),
        (line(image="b.png", split="holdout"), "group"),
        (line(prompt="dogs", width=9), "width"),
    ],
)
def test_lines_that_contradict_each_other_are_refused(tmp_path: Path, second: dict[str, Any], reason: str) -> None:
    (tmp_path / "set.jsonl").write_text(json.dumps(line()) + "\n" + json.dumps(second) + "\n")
    with pytest.raises(ManifestError, match=f"line 2: .*{reason}"):
        Manifest.read(tmp_path / "set.jsonl")


def test_a_failed_write_leaves_the_old_manifest(tmp_path: Path) -> None:
    Manifest.write(tmp_path / "set.jsonl", [item()])
    with pytest.raises(ManifestError):
        Manifest.write(tmp_path / "set.jsonl", [item(), item()])
    assert Manifest.read(tmp_path / "set.jsonl").items == (item(),)


def test_images_outside_the_folder_and_missing_ones_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "here.png").write_bytes(b"x")
    manifest = Manifest.write(folder / "set.jsonl", [item(image="link.png"), item(image="here.png", group="g2")])
    with pytest.raises(ManifestError, match="leads out"):
        manifest.image_path(manifest.items[0])
    assert manifest.image_path(manifest.items[1]) == folder / "here.png"
    with pytest.raises(ManifestError, match="no such file"):
        manifest.image_path(item(image="nowhere.png"))


def test_a_missing_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read"):
        Manifest.read(tmp_path / "none.jsonl")


def test_reading_manifests_needs_no_torch() -> None:
    code = "import sys, argenseg_model.manifest; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
