"""What only a GPU can show; `make test-gpu` runs it where there is one (CI has none).

Needs no Redis, store or Label Studio. On a machine without these packages: `PYTHONPATH=. python -m pytest tests/gpu`.
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from argenseg_model import ARGenSeg
from argenseg_model.manifest import Manifest, ManifestItem, encode_mask
from argenseg_model.metrics import iou
from argenseg_model.official_layout import official_key
from argenseg_model.processing import picture_to_uint8
from argenseg_model.scenes.microscope import draw_fluorescence
from argenseg_model.training.finetune import FinetuneOptions, finetune
from tests.argenseg_model.conftest import SEEDS, load_case
from tests.argenseg_model.parity import recipe
from worker.finetune.children import run_child
from worker.gpu_worker.batches import BatchedModel, CostedQuestion
from worker.gpu_worker.model_child import ModelOptions, Question, Segmenter, load_argenseg
from worker.gpu_worker.model_process import ModelProcess

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
PICTURES = [Image.fromarray(draw_fluorescence(np.random.default_rng(seed)).image) for seed in range(6)]
PROMPT = "all nuclei"
FRACTION = "GPU_TEST_MEMORY_FRACTION"  # of the GPU that a model process of these tests may have


@pytest.fixture(autouse=True, scope="session")
def gpu() -> torch.device:
    assert torch.cuda.is_available(), "torch sees no GPU: does nvidia-smi?"
    return torch.device("cuda")


@pytest.mark.parametrize("seed", SEEDS)
def test_parity_in_float32(seed: int, tmp_path: Path, gpu: torch.device) -> None:
    """Ids, picture, losses and gradient norms of the official code, within what the CPU is held to."""
    case = load_case(seed, tmp_path)
    model = ARGenSeg.from_pretrained(tmp_path, device="cuda", dtype=torch.float32)
    pixels, targets = case.pixels_13SS.to(gpu), case.mask_pixels_13ss.to(gpu)
    for forced in (0, 4):
        ids = torch.tensor([recipe.prompt_ids(seed) + recipe.ANSWER[:forced]], device=gpu)
        generation = model.generate(pixels, ids)
        assert generation.text_ids.tolist() == case.expected["generated_ids"][forced:].tolist()
        assert generation.visual_ids.tolist() == [case.expected["visual_ids"].tolist()]
    picture = picture_to_uint8(generation.pictures)[0]
    assert np.abs(picture.astype(int) - case.expected["mask_uint8"]).max() <= 1

    ids, labels = (torch.tensor([row], device=gpu) for row in recipe.train_ids(seed))
    losses = model(pixel_values=pixels, input_ids=ids, labels=labels, mask_pixel_values=targets)
    assert losses.text_loss.item() == pytest.approx(float(case.expected["text_loss"]), abs=1e-4)
    assert losses.mask_loss.item() == pytest.approx(float(case.expected["gen_loss"]), abs=1e-4)
    names = case.expected["grad_names"].tolist()
    parameters = {name: p for name, p in model.named_parameters() if official_key(name) in names}
    squares = dict.fromkeys(names, 0.0)
    for name, gradient in zip(parameters, torch.autograd.grad(losses.loss, list(parameters.values())), strict=True):
        squares[official_key(name)] += gradient.double().square().sum().item()
    np.testing.assert_allclose(np.sqrt([squares[name] for name in names]), case.expected["grad_norms"], rtol=1e-3)


def test_bfloat16_draws_what_float32_draws() -> None:
    """The worker's own precision on a GPU, against float32 on the CPU: the starter, on simulated nuclei."""
    images = PICTURES
    masks = []
    for device, dtype in (("cpu", torch.float32), ("cuda", torch.bfloat16)):
        model = ARGenSeg.from_pretrained("starter", device=device, dtype=dtype)
        masks.append([result.mask for [result] in model.segment(images, [PROMPT])])
    overlaps = [iou(one, other) for one, other in zip(*masks, strict=True)]
    assert min(overlaps) > 0.85 and np.mean(overlaps) > 0.93, overlaps


def small_gpu(options: ModelOptions) -> Segmenter:
    """The real model, in a process that may have little of the GPU: what does not fit is torch's own error."""
    torch.cuda.set_per_process_memory_fraction(float(os.environ[FRACTION]))
    return load_argenseg(options)


def test_a_batch_that_runs_out_of_the_gpus_memory_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four images of which two fit: all four are answered, by a process that was not lost."""
    side = 64 * 16
    rng = np.random.default_rng(0)
    questions = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)).save(path)
        questions.append(CostedQuestion("starter", Question(path, (PROMPT,)), side * side))
    monkeypatch.setenv(FRACTION, str(memory_fraction(questions)))
    options = ModelOptions("starter", "cuda", 10**8, loader=f"{__name__}:small_gpu", prefix_cache_bytes=0)
    process = RecordingProcess(options)
    process.start()
    try:
        model = BatchedModel(process, 4, 300.0)
        answers = {item.question.image: answer for item, answer in model.ask(questions)}
    finally:
        process.close()
    assert process.asked[0] == 4 and 2 in process.asked, f"nothing ran out of memory: asked {process.asked}"
    assert [type(answers[item.question.image]) for item in questions] == [list] * 4, answers


class RecordingProcess(ModelProcess):
    """Notes how many questions were asked at a time."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__(options)
        self.asked: list[int] = []

    def segment(self, questions: Sequence[Question], timeout_s: float, model: str | None = None):
        self.asked.append(len(questions))
        return super().segment(questions, timeout_s, model)


def memory_fraction(questions: Sequence[CostedQuestion]) -> float:
    """Of the GPU, what two of the questions need and four do not."""
    segment = load_argenseg(ModelOptions("starter", "cuda", 10**8, prefix_cache_bytes=0))
    peaks = []
    for count in (2, 4):
        torch.cuda.reset_peak_memory_stats()
        segment([item.question for item in questions[:count]])
        peaks.append(torch.cuda.max_memory_reserved())
        torch.cuda.empty_cache()
    assert peaks[1] > 1.1 * peaks[0], f"four images need no more memory than two: {peaks}"
    return sum(peaks) / 2 / torch.cuda.get_device_properties(0).total_memory


@pytest.mark.parametrize("adapters_above", [0, 10**9], ids=["adapters", "all weights"])
def test_fine_tuning_learns_stops_and_goes_on(adapters_above: int, tmp_path: Path) -> None:
    """The starter with LoRA and with all its weights: stopped after a checkpoint, taken up again, better in the end."""
    manifest = red_squares(tmp_path / "set")
    options = FinetuneOptions(
        name="starter-1.1", steps=60, groups=4, prompts=1, replay=0, kept_change=1.0, learning_rate=1e-3,
        adapters_above=adapters_above, checkpoint_every=20, measure_every=60, measure_images=2, device="cuda",
    )  # fmt: skip
    stops = iter([False] * 29 + [True])
    assert not finetune("starter", manifest, tmp_path / "out", options, should_stop=lambda: next(stops))
    assert finetune("starter", manifest, tmp_path / "out", options)
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    losses = [line["codes"] for line in log if "codes" in line]
    assert losses[-1] < losses[0], losses
    learnt = ARGenSeg.from_pretrained(tmp_path / "out" / "model")  # saved as it was stored, and read on a CPU
    image, mask = manifest.folder / "7.png", np.zeros((64, 64), bool)
    mask[20:45, 5:30] = True
    assert iou(learnt.segment([image], ["the blorp"])[0][0].mask, mask) > 0.5


def red_squares(folder: Path) -> Manifest:
    folder.mkdir()
    rng, items = np.random.default_rng(0), []
    mask: NDArray[np.bool_] = np.zeros((64, 64), bool)
    mask[20:45, 5:30] = True
    for number in range(8):
        pixels = rng.integers(90, 130, (64, 64, 3), dtype=np.uint8)
        pixels[mask] = (220, 30, 30)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        items.append(
            ManifestItem(
                image=f"{number}.png", width=64, height=64, weight=1.0, split="holdout" if number > 5 else "train",
                group=str(number), label=None, prompt="the blorp", mask=encode_mask(mask),
                source=f"correction:{number}",
            )
        )  # fmt: skip
    return Manifest.write(folder / "set.jsonl", items)


class Measured(Exception):
    """Ends the run."""


def test_a_paused_run_leaves_the_gpu_to_the_worker(tmp_path: Path) -> None:
    """A fine-tune run while the worker is busy, by the code that pauses it: the model is as fast as alone."""
    manifest, out = red_squares(tmp_path / "set"), tmp_path / "out"
    model = ARGenSeg.from_pretrained("starter", device="cuda", dtype=torch.bfloat16)
    image, medians = PICTURES[0], []

    def measure() -> None:
        seconds = []
        for _ in range(10):
            torch.cuda.synchronize()
            began = time.perf_counter()
            model.segment([image], [PROMPT])
            seconds.append(time.perf_counter() - began)
        medians.append(float(np.median(seconds)))

    def is_learning() -> bool:
        return (out / "log.jsonl").is_file() and (out / "log.jsonl").read_text().count("\n") > 1

    busy_since = None

    def on_tick() -> None:
        nonlocal busy_since
        if busy_since is None and is_learning():
            measure()
            busy_since = time.monotonic()
        elif busy_since is not None and time.monotonic() - busy_since > 1.0:
            measure()
            raise Measured

    argv = ["-m", "argenseg_model.training.finetune", "--model", "starter", "--name", "other", "--device", "cuda",
            "--manifest", str(manifest.folder / "set.jsonl"), "--out", str(out), "--steps", "100000",
            "--replay", "0", "--measure-every", "100000"]  # fmt: skip
    measure()
    medians.clear()  # that one warmed up
    measure()
    with pytest.raises(Measured):
        run_child(argv, tmp_path / "log", threads=1, on_tick=on_tick, is_busy=lambda: busy_since is not None)
    alone, beside, paused = medians
    print(f"alone {alone:.3f} s, beside training {beside:.3f} s, training paused {paused:.3f} s")
    assert paused < 1.25 * alone
