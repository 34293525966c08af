"""The command `argenseg segment`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from argenseg_model import ARGenSeg
from argenseg_model.starter import STARTER_DIR
from backend.console.segment import segment
from tests.argenseg_model.bright_segmenter import files, pixels, square, written

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tiny_model(small: ARGenSeg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of ours with random weights: all parts are real, only nobody has trained them."""
    folder = tmp_path_factory.mktemp("tiny")
    small.save_pretrained(folder)
    return folder


def argenseg_segment(*arguments: str | Path) -> Result:
    return CliRunner().invoke(segment, [str(argument) for argument in arguments])


def test_the_command_segments_with_a_real_model(tiny_model: Path, tmp_path: Path) -> None:
    images, out = [square(tmp_path / "in" / name) for name in ("a.png", "b.png")], tmp_path / "out"
    result = argenseg_segment(
        tmp_path / "in",
        "--prompt",
        "all nuclei",
        "--prompt",
        "a dog",
        "--model",
        tiny_model,
        "--device",
        "cpu",
        "--out",
        out,
    )
    assert result.exit_code == 0, result.output
    assert "2 of 2 images segmented" in result.stdout
    lines = written(out)
    assert [(line["image"], line["prompt"]) for line in lines] == [
        (str(image), prompt) for image in images for prompt in ("all nuclei", "a dog")
    ]
    for line in lines:
        mask = pixels(out / line["mask"])
        assert mask.shape == (30, 40) and set(np.unique(mask)) <= {0, 255}
        assert line["area_px"] == np.count_nonzero(mask)
        assert 0 <= line["score"] <= 1 and line["error"] is None


def test_the_command_resumes_with_the_same_model_only(tiny_model: Path, tmp_path: Path) -> None:
    square(tmp_path / "a.png")
    command = [tmp_path / "a.png", "--prompt", "x", "--model", tiny_model, "--device", "cpu", "--out", tmp_path / "out"]
    assert argenseg_segment(*command, "--resume").exit_code == 0
    mask = tmp_path / "out/masks/x/a.png"
    before = mask.stat().st_mtime_ns
    assert argenseg_segment(*command, "--resume").exit_code == 0
    assert mask.stat().st_mtime_ns == before
    refused = argenseg_segment(*command, "--resume", "--template", "referring")
    assert refused.exit_code == 3 and "was not made with this model and template" in refused.stderr
    refused = argenseg_segment(*command)
    assert refused.exit_code == 3 and "holds results of an earlier run" in refused.stderr
    assert argenseg_segment(*command, "--overwrite").exit_code == 0 and mask.stat().st_mtime_ns > before


def test_the_exit_code_tells_of_a_bad_image(tiny_model: Path, tmp_path: Path) -> None:
    square(tmp_path / "good.png")
    (tmp_path / "[bold] bad.png").write_text("no image")
    result = argenseg_segment(
        tmp_path, "--prompt", "x", "--model", tiny_model, "--device", "cpu", "--out", tmp_path / "out"
    )
    assert result.exit_code == 1
    assert "[bold] bad.png: is not an image that can be read" in result.stderr
    assert "1 of 2 images segmented" in result.stdout
    assert [bool(line["error"]) for line in written(tmp_path / "out")] == [True, False]


def test_a_folder_without_images_is_called_so(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    result = argenseg_segment(
        tmp_path / "notes", "--prompt", "x", "--model", tiny_model, "--device", "cpu", "--out", tmp_path / "out"
    )
    assert result.exit_code == 1
    assert f"{tmp_path / 'notes'}: no image is in this folder" in result.stderr


def test_ctrl_c_tells_how_to_go_on(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [square(tmp_path / "in" / name) for name in ("a.png", "b.png", "c.png")]
    command = [*images, "--prompt", "x", "--model", tiny_model, "--device", "cpu", "--out", tmp_path / "out"]
    whole, asked = ARGenSeg.segment, []

    def interrupted(*arguments: Any, **options: Any) -> list[Any]:
        asked.append(arguments)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(ARGenSeg, "segment", interrupted)
    stopped = argenseg_segment(*command)
    assert stopped.exit_code == 130, stopped.output
    assert "Stopped after 1 of 3 images. The same command with --resume goes on from there." in stopped.stderr
    assert argenseg_segment(*command, "--resume").exit_code == 0
    assert len(asked) == 4 and len(written(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--prompt", "x", "--out", "out"], 2, "Missing argument"),
        (["a.png", "--out", "out"], 2, "Missing option '--prompt'"),
        (["a.png", "--prompt", "x"], 2, "Missing option '--out'"),
        (["a.png", "--prompt", " ", "--out", "out"], 2, "the prompt is empty"),
        (["a.png", "--prompt", "x", "--prompt", "all " * 600, "--out", "out"], 2, "at most 2000 are taken"),
        (["a.png", "--prompt", "x", "--out", __file__], 2, "is a file"),
        (["a.png", "--prompt", "x", "--model", "./nowhere", "--out", "out"], 1, "nowhere"),
    ],
)
def test_a_wrong_command_line_is_explained(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = argenseg_segment(*arguments)
    assert (result.exit_code, message in result.stderr) == (code, True), result.output
    assert "Traceback" not in result.output
    assert not files(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "masks").touch()  # in the way of the folder
    result = argenseg_segment(
        square(tmp_path / "a.png"), "--prompt", "x", "--model", tiny_model, "--device", "cpu", "--out", tmp_path / "out"
    )
    assert result.exit_code == 1
    assert f"cannot write to {tmp_path / 'out'}" in result.stderr
    assert files(tmp_path / "out") == ["masks", "run.json"]


def test_help_shows_an_example_and_needs_no_torch() -> None:
    code = "import sys; from backend.console.segment import segment; segment(['--help'], standalone_mode=False); " \
           "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"  # fmt: skip
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert 'argenseg segment cell.png --prompt "all nuclei" --out result' in shown.stdout


def test_the_starter_segments_nuclei_and_finds_no_dog(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    height, width = np.mgrid[:200, :260]
    nuclei = np.zeros((200, 260), bool)
    for x, y in [(40, 40), (120, 50), (210, 45), (60, 120), (150, 130), (225, 150), (90, 175)]:
        nuclei |= ((width - x) / 16) ** 2 + ((height - y) / 13) ** 2 < 1
    grey = cv2.GaussianBlur(np.where(nuclei, 150.0, 12.0), (0, 0), 2) + rng.normal(0, 4, nuclei.shape)
    Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(tmp_path / "nuclei.png")
    result = argenseg_segment(
        tmp_path / "nuclei.png", "--prompt", "all nuclei", "--prompt", "a dog",
        "--model", STARTER_DIR, "--device", "cpu", "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found, dog = [pixels(tmp_path / "out" / line["mask"]) > 0 for line in written(tmp_path / "out")]
    assert (found & nuclei).sum() / (found | nuclei).sum() > 0.6
    assert dog.mean() < 0.02
