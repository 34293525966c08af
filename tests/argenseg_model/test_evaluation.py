"""Figures on a manifest, from models whose answers are known."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from argenseg_model.evaluation import EvaluationError, evaluate, read_rows, summarise, write_rows
from argenseg_model.manifest import Manifest, ManifestError, ManifestItem, encode_mask
from backend.console.evaluate import evaluate as command


@dataclass
class Answer:
    mask: np.ndarray
    score: float = 0.5


class Threshold:
    """Answers "bright" as it should, "left half" too large, and sees a dog in everything."""

    def segment(self, images: Any, prompts: Any) -> list[list[Answer]]:
        bright = images[..., 0] > 127
        return [[Answer(np.ones_like(bright) if prompt in ("dog", "left half") else bright) for prompt in prompts]]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[4:14, 4:14] = pixels[20:30, 30:50] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    left = np.zeros((40, 60), bool)
    left[:, :30] = True
    usual: dict[str, Any] = {"image": "a.png", "width": 60, "height": 40, "weight": 1.0, "split": "holdout",
                             "source": "correction:1", "group": "a"}  # fmt: skip
    return Manifest.write(
        tmp_path / "set.jsonl",
        [
            ManifestItem(prompt="bright", mask=encode_mask(pixels[..., 0] > 0), label="[/s]", **usual),
            ManifestItem(prompt="left half", mask=encode_mask(left), label="half", **usual),
            ManifestItem(prompt="dog", mask=None, label="half", **usual),
            ManifestItem(prompt="cat", mask=None, label=None, **usual),
        ],
    )


def test_figures(manifest: Manifest, tmp_path: Path) -> None:
    seen: list[tuple[str, bool]] = []
    rows = evaluate(
        Threshold(), manifest, on_answer=lambda item, pixels, mask: seen.append((item.prompt, bool(mask.all())))
    )
    assert seen == [("bright", False), ("cat", False), ("dog", True), ("left half", True)]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl") == rows
    summary = summarise(rows)
    assert summary["giou"] == pytest.approx((1 + 0.5) / 2)
    assert summary["ciou"] == pytest.approx((300 + 1200) / (300 + 2400))
    assert summary["object_f1"] == 1.0  # the larger half still overlaps by 0.5
    assert (summary["items"], summary["absent_items"], summary["false_positives"]) == (2, 2, 1.0)
    assert summary["baselines"]["otsu"] == pytest.approx((1 + 100 / 1400) / 2, abs=0.05)
    assert summary["by_label"]["[/s]"]["giou"] == 1.0
    assert summary["by_label"]["[/s]"]["false_positives"] is None
    assert summary["by_size"]["small"]["items"] == 1
    assert summary["by_size"]["medium"]["items"] == 1
    assert summary["by_size"]["large"]["giou"] is None


def test_another_image_under_the_same_name_is_noticed(manifest: Manifest, tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    with pytest.raises(ManifestError, match=r"10 x 10 px, but the manifest says 60 x 40"):
        evaluate(Threshold(), manifest)


def test_nothing_to_measure_is_said(manifest: Manifest) -> None:
    with pytest.raises(EvaluationError, match="no items"):
        evaluate(Threshold(), manifest.split("train"))


def test_the_command_prints_and_writes(manifest: Manifest, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        command, [str(tmp_path / "set.jsonl"), "--threads", "1", "--out", str(tmp_path / "o"), "--pictures", "2"]
    )
    assert result.exit_code == 0, result.output
    assert "[/s]" in result.output
    assert len(read_rows(tmp_path / "o" / "items.jsonl")) == 4
    assert {file.name for file in (tmp_path / "o" / "pictures").iterdir()} == {
        f"{line}-{name}.jpg" for line in (0, 3) for name in ("truth", "answer")
    }  # of the items with an object
    result = CliRunner().invoke(command, [str(tmp_path / "none.jsonl")])
    assert (result.exit_code, "cannot be read" in result.output) == (1, True)
