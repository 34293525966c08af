"""`argenseg segment` and the model process show the model the same upright RGB picture of a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import argenseg_model
from argenseg_model.configuration import ARGenSegConfig
from argenseg_model.errors import ImageError
from argenseg_model.segment_files import segment_files
from worker.gpu_worker.model_child import ModelOptions, Question, load_argenseg


class Recorder:
    """Stands for the model: keeps what it is shown, and has no answer after the warm-up."""

    def __init__(self) -> None:
        self.seen: list[Image.Image] = []
        self.config = ARGenSegConfig()

    def segment(self, images: list[Image.Image], prompts: list[Any], **_: Any) -> list[Any]:
        self.seen += images
        if prompts == ["warm up"]:
            return []
        raise ImageError("that is enough")


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "RGBA", "I;16", "P", "1"])
def test_both_see_the_same(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 255, (7, 5, 3), np.uint8)
    picture = Image.fromarray(values if mode != "I;16" else values[:, :, 0].astype(np.uint16) * 100)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "picture.tif"
    (picture if mode == "I;16" else picture.convert(mode)).save(path, exif=exif)
    in_files, in_child = Recorder(), Recorder()
    segment_files(in_files, [str(path)], ["nuclei"], tmp_path / "out")
    monkeypatch.setattr(argenseg_model.ARGenSeg, "from_pretrained", lambda *_, **__: in_child)
    segment = load_argenseg(ModelOptions("starter", "cpu", 1_000_000))
    with pytest.raises(ImageError, match="enough"):
        segment([Question(str(path), ("nuclei",))])
    assert in_files.seen == in_child.seen[1:]
    assert (in_files.seen[0].mode, in_files.seen[0].size) == ("RGB", (7, 5))
