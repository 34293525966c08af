"""`import argenseg_model` is cheap: floors that only need metrics, errors or images never pay for torch."""

import subprocess
import sys
from pathlib import Path

import pytest

import argenseg_model

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "module",
    ["", ".errors", ".images", ".metrics", ".starter", ".files", ".threads", ".annotated_sets", ".evaluation_page"],
)
def test_importing_pulls_no_torch(module: str) -> None:
    code = f"import sys, argenseg_model{module}; sys.exit(bool({{'torch', 'transformers'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0


def test_the_names_are_there_when_asked_for() -> None:
    assert sorted(argenseg_model.__all__) == ["ARGenSeg", "ARGenSegConfig", "SegmentationResult", "load_tokenizer"]
    for name in argenseg_model.__all__:
        assert getattr(argenseg_model, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'ARGenSag'"):
        argenseg_model.ARGenSag  # noqa: B018
