"""The experiment's way through the real Label Studio, with a small model that knows nothing and two rounds of two."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from backend.console.demo.label_studio import find_label_studio
from benchmarks.correction_loop import measurement
from benchmarks.correction_loop.__main__ import main
from tests.argenseg_model.conftest import byte_bpe, small_model
from tests.benchmarks.nuclei_folder import write_nuclei_folder
from tests.conftest import cannot_run
from worker.errors import SupervisorError
from worker.finetune import scenes_holdout

__all__ = ["byte_bpe"]


@pytest.mark.e2e
@pytest.mark.timeout(2400)
def test_two_rounds_and_going_on(tmp_path: Path, byte_bpe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predicted by webhooks, corrected through the API, learnt from, judged; then one round more with the same data."""
    try:
        find_label_studio(None)
    except SupervisorError as error:
        cannot_run(str(error))
    monkeypatch.setattr(measurement, "SCENES", 3)
    monkeypatch.setattr(measurement, "FLUORESCENCE_IMAGES", 1)
    monkeypatch.setattr(scenes_holdout, "SCENES", 2)
    monkeypatch.setenv("GATE_MIN_IMAGES", "2")
    kinds = {("train", "histology"): 12, ("test", "histology"): 2, ("test", "fluorescence"): 1}
    data, out = write_nuclei_folder(tmp_path / "data", kinds), tmp_path / "out"
    small_model(byte_bpe).save_pretrained(tmp_path / "small")
    scenes = scenes_holdout.write_scenes_holdout(tmp_path / "scenes").folder
    shutil.copytree(scenes, out / "argenseg" / "finetune" / "scenes-120")

    asked = ["--data", str(data), "--out", str(out), "--model", str(tmp_path / "small"), "--per-round", "2"]
    assert main([*asked, "--steps", "2", "--rounds", "1"]) == 0
    once = json.loads((out / "results.json").read_text())
    assert [record["round"] for record in once["rounds"]] == [0, 1]
    assert main([*asked, "--steps", "2", "--rounds", "2"]) == 0
    twice = json.loads((out / "results.json").read_text())
    assert twice["rounds"][:2] == once["rounds"], "what is done is not done again"
    assert [record["corrected"] for record in twice["rounds"]] == [0, 2, 4]
    for record in twice["rounds"][1:]:
        assert record["verdict"] in ("promoted", "refused") and record["gate"]["decided"]
        assert record["work"]["edited"] + record["work"]["added"] == 4, "two nuclei on each of two images"
    assert (out / "loop.png").stat().st_size > 10_000
    assert (out / "loop.md").read_text().count("\n") == 6
