"""The commands around a model that need no store: init, plan-memory, finetune --out, evaluate on other files."""

import json
import shutil
from pathlib import Path

from click.testing import CliRunner
from PIL import Image

from argenseg_model import ARGenSeg
from argenseg_model.starter import STARTER_DIR
from backend.console.cli import main
from backend.console.finetune import finetune
from backend.console.init import init
from backend.console.plan_memory import plan_memory


def test_a_plan_needs_the_configuration_only(tmp_path: Path) -> None:
    shutil.copy(STARTER_DIR / "config.json", tmp_path)
    result = CliRunner().invoke(plan_memory, ["--model", str(tmp_path), "--gpu", "24"])
    assert result.exit_code == 0, result.output
    assert "24 GB" in result.output
    assert "up to" in result.output


def test_a_plan_of_nothing_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(plan_memory, ["--model", str(tmp_path)])
    assert (result.exit_code, "config.json is missing" in result.output) == (1, True)


def test_init_says_what_is_wrong_with_a_base(tmp_path: Path) -> None:
    (tmp_path / "vae.pth").write_bytes(b"no weights")
    result = CliRunner().invoke(
        init, ["--base", str(tmp_path), "--vqvae", str(tmp_path / "vae.pth"), "--out", str(tmp_path / "new")]
    )
    assert result.exit_code == 1
    assert "give vae_ch160v4096z32.pth" in result.output
    assert not (tmp_path / "new").exists()


def test_training_into_a_folder_needs_a_set(tmp_path: Path) -> None:
    result = CliRunner().invoke(finetune, ["--out", str(tmp_path / "run")])
    assert (result.exit_code, "give --manifest FILE too" in result.output) == (2, True)


def test_training_options_need_a_folder() -> None:
    result = CliRunner().invoke(finetune, ["--", "--steps", "3"])
    assert (result.exit_code, "are for --manifest with --out" in result.output) == (2, True)


def test_a_model_is_trained_into_a_folder_on_cocos_annotations(small: ARGenSeg, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path / "small")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (80, 80), "grey").save(tmp_path / "images" / "a.png")
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 80}],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[5, 5, 60, 5, 60, 60, 5, 60]]}],
    }
    (tmp_path / "set.json").write_text(json.dumps(coco))
    out = tmp_path / "runs" / "squares"
    here = ["--manifest", str(tmp_path / "set.json"), "--model", str(tmp_path / "small"), "--out", str(out)]
    options = ["--steps", "1", "--groups", "1", "--replay", "0", "--save-memory", "--device", "cpu"]
    result = CliRunner().invoke(finetune, [*here, "--", *options])
    assert result.exit_code == 0, result.output
    assert json.loads((out / "model" / "config.json").read_text())["model_name"] == "squares"


def test_an_image_is_no_manifest(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    result = CliRunner().invoke(main, ["evaluate", str(tmp_path / "a.png")])
    assert (result.exit_code, "is an image, no manifest" in result.output) == (1, True)
