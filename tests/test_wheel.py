"""The wheel of `make dist`, in an environment that has nothing of the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PACKED = [
    *("argenseg_model/starter/model.safetensors", "argenseg_model/starter/tokenizer.json"),
    *("argenseg_model/starter/NOTICE.md", "argenseg_model/templates/evaluation.html"),
    *("labeling/store/migrations/script.py.mako", "backend/web/pages/templates/status.html"),
    "worker/finetune/templates/report.html",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of the files that git knows, or would add: a stale build folder must not help."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if name.partition("/")[0] not in ("tests", "docs", "benchmarks") and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", out, source], check=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def argenseg(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed from the wheel. The libraries are those of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    target = next(folder.glob("lib/python*/site-packages"))
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-deps", wheel],
        check=True,
    )
    (target / "libraries.pth").write_text(sysconfig.get_path("purelib"))  # added after it: the wheel comes first
    return folder / "bin" / "argenseg"


def run(argenseg: Path, *arguments: str | Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"ARGENSEG_DATA_DIR": str(folder / "data"), "LABEL_STUDIO_URL": "", "LABEL_STUDIO_API_KEY": ""}
    return subprocess.run([argenseg, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_wheel_holds_the_starter_and_what_is_read_at_run_time(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in PACKED if name not in names]
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {
        *("argenseg_model", "labeling", "worker", "backend")
    }


def test_what_is_installed_is_the_wheels(argenseg: Path, tmp_path: Path) -> None:
    code = "import argenseg_model, backend; print(argenseg_model.__file__, backend.__file__)"
    python = argenseg.parent / "python"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert done.stdout.count(str(argenseg.parents[1])) == 2


def test_segment_up_and_doctor_work_outside_the_checkout(argenseg: Path, tmp_path: Path) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[20:40, 20:40] = (90, 90, 255)
    Image.fromarray(picture).save(tmp_path / "cell.png")
    done = run(argenseg, "segment", "cell.png", "--prompt", "all nuclei", "--out", "result", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "result").rglob("*.png"))
    assert "--connect" in run(argenseg, "up", "--help", folder=tmp_path).stdout
    diagnosed = run(argenseg, "doctor", folder=tmp_path)
    assert "Traceback" not in diagnosed.stderr and "starter-" in diagnosed.stdout
    assert "argenseg, version 0" in run(argenseg, "--version", folder=tmp_path).stdout
