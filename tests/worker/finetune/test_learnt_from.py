"""What a run says that it learnt from: counts of its manifest, and what was left out when that was made."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from markupsafe import escape

from argenseg_model.manifest import Manifest, ManifestItem, Split, encode_mask
from labeling.store import Project, Store
from tests.worker.finetune.test_manifests import Correct, claim, correct, project
from worker.context import JobContext
from worker.finetune.learnt_from import LearntFrom
from worker.finetune.progress import run_folder
from worker.finetune.run import drive

__all__ = ["correct", "project"]
ITEM = ManifestItem(
    "a.png", 4, 4, "cells", encode_mask(np.eye(4, dtype=bool)), 1.0, "train", "correction:5/1", "c", "a"
)


def item(image: str, source: str, split: Split = "train", *, absent: bool = False) -> ManifestItem:
    name = f"{image}.png"
    mask = None if absent else ITEM.mask
    return replace(ITEM, image=name, group=image, source=source, split=split, mask=mask, prompt=f"{source} {absent}")


def test_what_is_new_is_counted_apart_from_base_data(tmp_path: Path) -> None:
    items = [
        item("a", "correction:5/1"), item("a", "negative:5/1", absent=True), item("b", "correction:5/2"),
        item("n", "replay:nuclei"), item("c", "correction:5/3", "holdout"), item("m", "replay:nuclei", "holdout"),
        item("c", "negative:foreign", "holdout", absent=True),
    ]  # fmt: skip
    (tmp_path / "left-out.json").write_text('{"annotators disagree": 2, "image: gone": 1}')
    manifest = Manifest.write(tmp_path / "set.jsonl", items)
    counted = LearntFrom.of(manifest, tmp_path / "set.jsonl", steps=300)
    assert counted == LearntFrom(2, 2, 2, 1, 1, 1, manifest.digest(), 300, {"annotators disagree": 2, "image: gone": 1})
    assert LearntFrom(**json.loads(json.dumps(counted.to_json()))) == counted
    assert counted.tell() == [
        "Learnt in 300 steps from 2 images with 2 corrected masks and 1 label that is not there, of 2 annotations.",
        "Beside these, base data: 1 item, and drawn scenes.",
        "Held out, to measure on: 1 image.",
        "Left out: 2: annotators disagree.",
        "Left out: 1: image: gone.",
    ]
    assert counted.tell_shortly() == "learnt from 2 images, 1 held out, 3 left out"
    assert replace(counted, steps=0, left_out={}).tell_shortly() == "would have learnt from 2 images, 1 held out"


def test_a_runs_report_says_what_was_left_out_and_its_copies_of_images_go(
    context: JobContext, store: Store, project: Project, correct: Correct
) -> None:
    for number in range(1, 12):
        correct(number)
    correct(12, "data:image/png;base64,AAAA")
    run = claim(store, project, "one")
    drive(JobContext(context.settings, store, None, context.connection), run, "me", lambda: False)
    ended, folder = store.finetunes.get(run.id), run_folder(context.settings, run)
    assert (ended.status, ended.error) == ("refused", None)  # a holdout of a few images
    assert ended.report is not None
    learnt_from = ended.report["learnt_from"]
    ((reason, count),) = learnt_from["left_out"].items()
    assert reason.startswith("image: ") and count == 1
    assert learnt_from["data_set"] in [each.digest for each in store.datasets.all()]
    assert escape(f"Left out: 1: {reason}") in (folder / "report.html").read_text()
    assert sorted(each.name for each in (folder / "set").iterdir()) == [
        "left-out.json", "manifest.jsonl", "with-base-data.jsonl",
    ]  # fmt: skip
