"""The experiment's own parts: the annotator does what it says, and nothing of the control is right by chance."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from argenseg_model.metrics import iou
from benchmarks.correction_loop.annotator import ACCEPTED_IOU, correct, draw_by_hand
from benchmarks.correction_loop.controls import _shuffle, run_shuffled
from benchmarks.correction_loop.images import Plan, plan_rounds
from benchmarks.correction_loop.installation import LoopError, own_settings
from benchmarks.correction_loop.measurement import LABEL_CONFIG, TAG, interval
from benchmarks.correction_loop.rounds import LoopOptions, Results
from benchmarks.correction_loop.truth_sets import write_set
from labeling.predictions import Prediction, validate_prediction
from labeling.prompts.label_config import parse_label_config
from labeling.regions.kinds import draw_regions, region_dict, region_mask
from tests.argenseg_model.conftest import byte_bpe, small_model
from tests.benchmarks.nuclei_folder import truth, write_nuclei_folder
from worker.finetune import children, scenes_holdout

__all__ = ["byte_bpe"]
OPTIONS = LoopOptions(model="starter", rounds=2, per_round=3, steps=5, seed=0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty pictures of noise with two nuclei each, in the layout of the nuclei data."""
    return write_nuclei_folder(tmp_path / "data", {("train", "histology"): 20})


def region(mask: np.ndarray, name: str) -> dict[str, Any]:
    kind, rest = TAG["kind"], {key: value for key, value in TAG.items() if key != "kind"}
    return region_dict(draw_regions(kind, mask)[0], kind=kind, region_id=name, score=0.7, **rest)


def test_the_annotator_accepts_redraws_deletes_and_adds() -> None:
    nuclei = truth()
    small = cv2.erode((nuclei == 1).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=2) > 0
    wrong = np.zeros_like(small)
    wrong[50:60, 5:20] = True
    assert 0.5 <= iou(small, nuclei == 1) < ACCEPTED_IOU
    shown = [region(small, "coarse"), region(wrong, "wrong")]
    result, effort = correct(shown, nuclei, TAG, np.random.default_rng(0))
    assert (effort.accepted, effort.edited, effort.deleted, effort.added) == (0, 1, 1, 1)
    assert [(item["origin"], item["id"] == "coarse") for item in result] == [
        ("prediction-changed", True), ("manual", False),
    ]  # fmt: skip
    after = np.any([region_mask(item) for item in result], axis=0)
    assert effort.changed_pixels == np.count_nonzero((small | wrong) != after)
    assert iou(after, nuclei > 0) > 0.85
    validate_prediction(Prediction(result, 0.7, "v"), parse_label_config(LABEL_CONFIG))

    good = [region(nuclei == 1, "one"), region(nuclei == 2, "two")]
    result, effort = correct(good, nuclei, TAG, np.random.default_rng(0))
    assert (effort.accepted, effort.changed_pixels) == (2, 0)
    assert [{key: value for key, value in item.items() if key != "origin"} for item in result] == good


def test_a_hand_wavers_a_little() -> None:
    rng = np.random.default_rng(0)
    overlaps = [iou(draw_by_hand(truth() == 1, rng), truth() == 1) for _ in range(50)]
    assert min(overlaps) > 0.75 and 0.88 < np.median(overlaps) < 0.98
    single = np.zeros((9, 9), bool)
    single[0, 0] = True
    assert draw_by_hand(single, rng).any()


def test_rounds_are_of_train_and_the_same_each_time(data: Path) -> None:
    plan = plan_rounds(data, rounds=2, per_round=3, seed=0)
    assert plan == plan_rounds(data, rounds=2, per_round=3, seed=0)
    assert [len(some) for some in plan.rounds] == [3, 3]
    assert plan.holdout and not {image.id for image in plan.holdout} & {image.id for image in plan.train}
    longer = plan_rounds(data, rounds=50, per_round=3, seed=0)
    assert longer.rounds[:2] == plan.rounds, "more rounds go on with the same order"
    assert len(longer.train) + len(longer.holdout) == 20


def test_no_image_keeps_its_mask_when_they_are_shuffled(data: Path, tmp_path: Path) -> None:
    plan = plan_rounds(data, rounds=50, per_round=3, seed=0)
    masks = {image.id: np.full((4, 5), number) == number for number, image in enumerate(plan.train)}
    for number, mask in enumerate(masks.values()):
        mask.flat[:] = np.arange(20) == number  # each its own
    shuffled = _shuffle(masks, seed=3)
    assert not [name for name in masks if np.array_equal(masks[name], shuffled[name])]
    assert sorted(int(mask.argmax()) for mask in shuffled.values()) == list(range(len(masks)))
    manifest = write_set(tmp_path / "set", Plan((), (plan.train[:2],)), {image.id: truth() > 0 for image in plan.train})
    assert [item.split for item in manifest.items] == ["train", "train"]


@pytest.mark.timeout(1200)
def test_a_run_on_shuffled_masks_goes_the_products_way(
    data: Path, tmp_path: Path, byte_bpe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small model that knows nothing: real processes, a verdict with reasons, and nothing is done twice."""
    monkeypatch.setattr(scenes_holdout, "SCENES", 2)
    monkeypatch.setattr(children, "NICENESS", 0)
    small_model(byte_bpe).save_pretrained(tmp_path / "small")
    plan = plan_rounds(data, rounds=2, per_round=3, seed=0)
    settings = own_settings(tmp_path, str(tmp_path / "small"), "cpu", 1, 2).model_copy(update={"gate_min_images": 2})
    (record,) = run_shuffled(plan, tmp_path, 1, settings)
    assert record["verdict"] == "refused"
    assert record["gate"]["decided"] and record["on the honest holdout"]["decided"]
    assert run_shuffled(plan, tmp_path, 1, settings) == json.loads(json.dumps([record])), "it is not done again"


def test_intervals_hold_their_value() -> None:
    rows = [{"iou": value} for value in (0.2, 0.4, 0.9, 0.8)]
    value, low, high = interval(rows, lambda some: float(np.mean([row["iou"] for row in some])))
    assert low < value == 0.575 < high


def test_results_go_on_and_belong_to_one_experiment(tmp_path: Path) -> None:
    Results(tmp_path / "results.json", OPTIONS).save(rounds=[{"round": 0}])
    more = LoopOptions(model="starter", rounds=4, per_round=3, steps=5, seed=0)
    assert Results(tmp_path / "results.json", more).rounds == [{"round": 0}]
    other = LoopOptions(model="starter", rounds=2, per_round=3, steps=6, seed=0)
    with pytest.raises(LoopError, match="another experiment"):
        Results(tmp_path / "results.json", other)
