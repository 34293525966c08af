import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.worker.conftest import is_alive, wait_until
from worker.errors import (
    ModelCrashed,
    ModelLoadError,
    ModelOutOfMemory,
    ModelStopped,
    ModelTimeout,
    SegmentationRefused,
)
from worker.gpu_worker.model_child import ModelOptions, PackedMask, Question
from worker.gpu_worker.model_process import ModelProcess, SegmentedPrompt


def options(loader: str, model: str = "/models/none", models_in_memory: int = 1) -> ModelOptions:
    loader = f"tests.worker.segmenters:{loader}"
    return ModelOptions(model, "cpu", 10**6, loader=loader, models_in_memory=models_in_memory)


def segment(model: ModelProcess, image: Path, prompts: list[str], timeout_s: float) -> list[SegmentedPrompt]:
    """One question alone."""
    [answer] = model.segment([Question(image, tuple(prompts))], timeout_s)
    if isinstance(answer, SegmentationRefused):
        raise answer
    return answer


@pytest.fixture(scope="module")
def model() -> Iterator[ModelProcess]:
    process = ModelProcess(options("threshold"))
    process.start()
    yield process
    process.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.zeros((30, 41), np.uint8)
    pixels[5:15, 5:16] = 255
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_all_prompts_of_an_image_are_answered_in_order(model: ModelProcess, image: Path) -> None:
    answers = segment(model, image, ["a", "b"], 10)
    assert [answer.prompt for answer in answers] == ["a", "b"]
    assert answers[0].mask.shape == (30, 41)
    assert answers[0].mask.dtype == bool
    assert answers[0].mask[5:15, 5:16].all()
    assert answers[0].mask.sum() == 110
    assert answers[0].score == 0.75


def test_a_damaged_image_spoils_no_other_of_its_batch(model: ModelProcess, tmp_path: Path, image: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    pid = segment(model, image, ["a"], 10) and model.pid
    questions = [Question(path, ("a",)) for path in (image, tmp_path / "bad.png", image)]
    first, refused, last = model.segment(questions, 10)
    assert isinstance(refused, SegmentationRefused)
    assert all(isinstance(answers, list) and answers[0].mask.sum() == 110 for answers in (first, last))
    assert model.pid == pid


@pytest.mark.parametrize("error", ["MemoryError", "RuntimeError"])
def test_too_little_memory_says_so_and_the_model_stays(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    monkeypatch.setenv("MEMORY_PIXELS", str(2 * 30 * 41))
    monkeypatch.setenv("MEMORY_ERROR", error)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    model = ModelProcess(options("small_memory"))
    try:
        assert len(model.segment([Question(image, ("a",))] * 2, 30)) == 2
        pid = model.pid
        with pytest.raises(ModelOutOfMemory, match="not enough memory"):
            model.segment([Question(image, ("a",))] * 3, 30)
        assert len(segment(model, image, ["a"], 30)) == 1
        assert model.pid == pid
    finally:
        model.close()


def test_models_are_loaded_beside_each_other_and_the_one_used_longest_ago_leaves(image: Path) -> None:
    model = ModelProcess(options("named", "/models/1", models_in_memory=2))

    def score(name: str) -> float:
        [answer] = model.segment([Question(image, ("a",))], 10, name)
        assert isinstance(answer, list)
        return answer[0].score

    try:
        assert [score(f"/models/{number}") for number in (1, 2, 1, 3, 2, 1)] == [0.1, 0.2, 0.1, 0.3, 0.2, 0.1]
        pid = model.pid
        with pytest.raises(ModelLoadError, match="/models/none"):
            score("/models/none")
        assert score("/models/2") == 0.2
        assert model.pid == pid
        assert model.load_error is None
    finally:
        model.close()


def test_a_model_process_that_grows_is_started_anew(image: Path) -> None:
    model = ModelProcess(options("leaking"), memory_limit_bytes=200 * 2**20)
    try:
        pids = {segment(model, image, ["a"], 10) and model.pid for _ in range(8)}  # 50 MiB each
        assert 2 <= len(pids) <= 5
    finally:
        model.close()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 8), (0, 4)])
def test_masks_come_through_the_pipe_unchanged(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) > 0.5
    assert np.array_equal(PackedMask.pack(mask, 0.5).unpack(), mask)


def test_a_bad_image_is_refused_and_the_model_stays(model: ModelProcess, tmp_path: Path, image: Path) -> None:
    pid = segment(model, image, ["a"], 10) and model.pid
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(SegmentationRefused, match=r"no picture\. Upload it again"):
        segment(model, tmp_path / "bad.png", ["a"], 10)
    segment(model, image, ["a"], 10)
    assert model.pid == pid


def test_a_crash_names_its_signal_and_the_next_request_works(model: ModelProcess, image: Path) -> None:
    with pytest.raises(ModelCrashed, match=r"SIGSEGV \(exit code -11\)"):
        segment(model, image, ["crash"], 10)
    assert len(segment(model, image, ["a"], 10)) == 1


def test_a_hang_is_killed_in_time_and_the_next_request_works(model: ModelProcess, image: Path) -> None:
    segment(model, image, ["a"], 10)
    pid, began = model.pid, time.monotonic()
    with pytest.raises(ModelTimeout, match=r"0\.5 s"):
        segment(model, image, ["hang"], 0.5)
    assert time.monotonic() - began < 1.5
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)
    assert len(segment(model, image, ["a"], 10)) == 1


def test_a_bug_in_the_model_reloads_it_and_quotes_nothing(
    model: ModelProcess, image: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model.close()  # so that the next one writes where capfd reads
    segment(model, image, ["a"], 10)
    pid = model.pid
    with pytest.raises(ModelCrashed, match="RuntimeError") as caught:
        segment(model, image, ["bug"], 10)
    assert str(image) not in str(caught.value)
    segment(model, image, ["a"], 10)
    assert model.pid != pid
    log = capfd.readouterr().err
    assert "segmenters.py" in log
    assert str(image) not in log


def test_a_stop_ends_the_running_request_and_the_next_until_the_job_is_over(model: ModelProcess, image: Path) -> None:
    segment(model, image, ["a"], 10)
    threading.Timer(0.3, model.stop_request).start()
    began = time.monotonic()
    with pytest.raises(ModelStopped):
        segment(model, image, ["hang"], 10)
    assert time.monotonic() - began < 2
    with pytest.raises(ModelStopped):
        segment(model, image, ["a"], 10)
    model.accept_requests()
    assert len(segment(model, image, ["a"], 10)) == 1


@pytest.mark.parametrize(
    ("loader", "reason"), [("missing", r"There is no model in /models/none\. Give"), ("dying", "exit code 7")]
)
def test_a_model_that_cannot_be_loaded_says_why(loader: str, reason: str) -> None:
    model = ModelProcess(options(loader))
    with pytest.raises(ModelLoadError, match=reason):
        model.start()
    assert model.pid is None
    assert model.load_error is not None


def test_the_parent_imports_no_torch_and_the_child_dies_with_it(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    code = f"""
import json, sys, time
from pathlib import Path
from worker.gpu_worker import worker
from worker.gpu_worker.model_child import ModelOptions
from worker.gpu_worker.model_process import ModelProcess
import worker.sweeper
found = [name for name in sys.modules if name.split(".")[0] == "backend"]
import backend.console.worker, backend.console.supervisor.up
model = ModelProcess(ModelOptions("none", "cpu", 10**6, loader="tests.worker.segmenters:threshold"))
model.start()
found += [name for name in sys.modules if name.split(".")[0] in ("torch", "transformers", "flask")]
Path({str(report)!r} + ".tmp").write_text(json.dumps([model.pid, found]))
Path({str(report)!r} + ".tmp").rename({str(report)!r})
time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        wait_until(report.exists, 30)
        child, found = json.loads(report.read_text())
        assert found == []
        assert is_alive(child)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not is_alive(child), 5)
