"""Fine-tuning: small models and adapters learn, stop, go on exactly, and leave nothing half-done."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from argenseg_model import ARGenSeg
from argenseg_model.manifest import Manifest, ManifestError, ManifestItem, encode_mask
from argenseg_model.training import finetune as finetuning
from argenseg_model.training.adapters import add_adapters, merge_adapters
from argenseg_model.training.finetune import FinetuneError, FinetuneOptions, finetune
from argenseg_model.training.manifest_samples import ManifestSamples
from tests.argenseg_model.conftest import ParityCase, small_model

OPTIONS = FinetuneOptions(
    name="small-1.1", steps=6, groups=2, replay=1, prompts=2, checkpoint_every=2, measure_every=3, learning_rate=1e-3
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Red squares on grey, at the left of their images; the holdout and the replay show the same."""
    folder = tmp_path_factory.mktemp("set")
    rng, items = np.random.default_rng(0), []
    for number in range(8):
        pixels = rng.integers(90, 130, (70, 100, 3), dtype=np.uint8)
        mask = np.zeros((70, 100), bool)
        mask[20:45, 5:35] = True
        pixels[mask] = (220, 30, 30)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        split = "holdout" if number > 5 else "train"
        usual: dict[str, Any] = {"image": f"{number}.png", "width": 100, "height": 70, "weight": 1.0, "split": split,
                                 "group": str(number), "label": None}  # fmt: skip
        for prompt, answer, source in (
            ("red squares", mask, f"correction:{number}"),
            ("the dog", ~mask & mask, "negative"),
        ):
            source = "replay:old" if number == 5 else source
            items.append(ManifestItem(prompt=prompt, mask=encode_mask(answer), source=source, **usual))
    return Manifest.write(folder / "set.jsonl", items)


@pytest.fixture
def source(byte_bpe: Any, tmp_path: Path) -> Path:
    """A small model's folder."""
    model = small_model(byte_bpe, image_mode="tile", tile_overlap=8, autocontrast=0.01)
    model.save_pretrained(tmp_path / "small")
    return tmp_path / "small"


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def test_a_run_leaves_a_model_with_its_name_and_a_curve(source: Path, manifest: Manifest, tmp_path: Path) -> None:
    assert finetune(source, manifest, tmp_path / "out", OPTIONS)
    model = ARGenSeg.from_pretrained(tmp_path / "out" / "model")
    assert model.config.model_name == "small-1.1"
    assert model.segment(manifest.folder / "6.png", ["red squares"])[0][0].mask.shape == (70, 100)
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "giou" in line] == [0, 3, 6]
    before, after = load_file(source / "model.safetensors"), weights(tmp_path / "out")
    assert before.keys() == after.keys()
    assert not torch.equal(before["lm_head.weight"], after["lm_head.weight"])
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("image_tokenizer"))
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_a_run_ends_part_of_the_way_to_what_it_learnt(source: Path, manifest: Manifest, tmp_path: Path) -> None:
    for kept in (0.0, 0.25, 1.0):
        assert finetune(source, manifest, tmp_path / str(kept), replace(OPTIONS, steps=2, kept_change=kept))
    before = load_file(source / "model.safetensors")
    none, some, all_of_it = (weights(tmp_path / str(kept)) for kept in (0.0, 0.25, 1.0))
    assert all(torch.equal(before[name], none[name]) for name in before)
    assert not torch.equal(before["lm_head.weight"], all_of_it["lm_head.weight"])
    for name, weight in before.items():
        assert torch.allclose(some[name], weight + 0.25 * (all_of_it[name] - weight), atol=1e-6)


def test_how_sure_it_must_be_is_found_anew(
    byte_bpe: Any, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scores are others than before; a model without such a bound gets none."""
    monkeypatch.setattr(finetuning, "choose_least_score", lambda model, scenes: 0.123456)
    for before, after in ((0.4, 0.1235), (0.0, 0.0)):
        source, out = tmp_path / f"from-{before}", tmp_path / f"out-{before}"
        small_model(byte_bpe, image_mode="tile", tile_overlap=8, least_score=before).save_pretrained(source)
        assert finetune(source, manifest, out, replace(OPTIONS, steps=1))
        assert ARGenSeg.from_pretrained(out / "model").config.least_score == after


def test_what_a_run_taught_is_known_from_then_on(byte_bpe: Any, manifest: Manifest, tmp_path: Path) -> None:
    small_model(byte_bpe, known_names={"nuclei": ["nuclei"]}, known_words=["all"]).save_pretrained(tmp_path / "small")
    assert finetune(tmp_path / "small", manifest, tmp_path / "out", replace(OPTIONS, steps=2))
    model = ARGenSeg.from_pretrained(tmp_path / "out" / "model")
    assert model.knows("all red squares").is_known and model.knows("all nuclei").is_known
    assert not model.knows("the dog").is_known  # asked as what is absent only


def test_a_stopped_run_goes_on_to_the_same_weights(source: Path, manifest: Manifest, tmp_path: Path) -> None:
    finetune(source, manifest, tmp_path / "straight", OPTIONS)
    calls = iter([False, False, True])
    assert not finetune(source, manifest, tmp_path / "stopped", OPTIONS, should_stop=lambda: next(calls))
    with pytest.raises(FinetuneError, match="another model, manifest or options"):
        finetune(source, manifest, tmp_path / "stopped", replace(OPTIONS, seed=1))
    assert finetune(source, manifest, tmp_path / "stopped", OPTIONS)
    straight, stopped = weights(tmp_path / "straight"), weights(tmp_path / "stopped")
    assert all(torch.equal(straight[name], stopped[name]) for name in straight)
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("straight", "stopped")]
    assert [json.loads(line) | {"seconds": 0} for line in logs[0]] == [
        json.loads(line) | {"seconds": 0} for line in logs[1]
    ]


def test_a_killed_process_goes_on_to_the_same_weights(source: Path, manifest: Manifest, tmp_path: Path) -> None:
    """kill -9 at some moment after a checkpoint; SIGTERM ends with a checkpoint and the exit code that says so."""
    options = replace(OPTIONS, steps=400, measure_every=1000)
    command = [
        sys.executable, "-m", "argenseg_model.training.finetune", "--model", str(source), "--manifest",
        str(manifest.folder / "set.jsonl"), "--name", "small-1.1", "--steps", "400", "--groups", "2", "--replay", "1",
        "--prompts", "2", "--checkpoint-every", "2", "--measure-every", "1000", "--learning-rate", "1e-3", "--out",
    ]  # fmt: skip
    out = tmp_path / "killed"
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, os.EX_TEMPFAIL)):
        process = subprocess.Popen([*command, str(out)])
        deadline = time.monotonic() + 120
        seen = (out / "checkpoint.pt").stat().st_mtime_ns if (out / "checkpoint.pt").exists() else 0
        while not (out / "checkpoint.pt").exists() or (out / "checkpoint.pt").stat().st_mtime_ns == seen:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(60) == code
    assert finetune(source, manifest, out, options)
    finetune(source, manifest, tmp_path / "straight", options)
    straight, killed = weights(tmp_path / "straight"), weights(out)
    assert all(torch.equal(straight[name], killed[name]) for name in straight)


def test_adapters_learn_and_are_merged(one_case: ParityCase, byte_bpe: Any, manifest: Manifest, tmp_path: Path) -> None:
    """On a checkpoint of the release, with a tokenizer; only the language model's linear layers change."""
    source, release = tmp_path / "release", ARGenSeg.from_pretrained(one_case.folder)
    special, release.tokenizer = byte_bpe.special_tokens, byte_bpe
    release.config.image_token_id = special["<IMG_CONTEXT>"]
    release.config.ge_start_id, release.config.ge_end_id = special["<ge_start>"], special["<ge_end>"]
    release.config.mask_context_id, release.config.eos_token_id = special["<MASK_CONTEXT>"], special["<|im_end|>"]
    release.save_pretrained(source)
    options = replace(OPTIONS, steps=2, adapters_above=0, rank=2, measure_every=100, learning_rate=1e-2)
    calls = iter([True])
    assert not finetune(source, manifest, tmp_path / "out", options, should_stop=lambda: next(calls))
    assert sum(tensor.numel() for tensor in torch.load(tmp_path / "out" / "checkpoint.pt")["weights"].values()) < 20_000
    assert finetune(source, manifest, tmp_path / "out", options)
    before = ARGenSeg.from_pretrained(source).state_dict()
    after = ARGenSeg.from_pretrained(tmp_path / "out" / "model").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("language_model.layers.") and name.endswith("_proj.weight") for name in changed)


@torch.no_grad()
def test_merging_changes_no_answer(byte_bpe: Any) -> None:
    model = small_model(byte_bpe)
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    untouched = model.segment(image, ["a dog"])[0][0].tokens
    add_adapters(model, 2)
    np.testing.assert_array_equal(model.segment(image, ["a dog"])[0][0].tokens, untouched)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0, 0.3)
    adapted = model.segment(image, ["a dog"])[0][0].probability
    assert not np.array_equal(adapted, small_model(byte_bpe).segment(image, ["a dog"])[0][0].probability)
    merge_adapters(model)
    np.testing.assert_allclose(model.segment(image, ["a dog"])[0][0].probability, adapted, atol=2 / 255)


@pytest.mark.parametrize("mode", ["tile", "squash"])
def test_samples_keep_picture_and_mask_together(byte_bpe: Any, manifest: Manifest, mode: str) -> None:
    config = small_model(byte_bpe, image_mode=mode, autocontrast=0.01).config
    samples, rng = ManifestSamples(manifest, config), np.random.default_rng(0)
    shown = empty = 0
    for _ in range(30):
        new, replayed = samples.draw(rng, 2, 2, 1)
        assert all(sample.source.split(":")[0] in ("correction", "negative") for sample in new)
        assert replayed[0].source.split(":")[0] == "replay"
        assert {sample.prompt for sample in new} == {"red squares", "the dog"}
        for sample in new:
            assert sample.mask.shape == sample.image.shape[:2]
            if sample.prompt == "the dog":
                assert not sample.mask.any()
            elif 0.02 < sample.mask.mean() < 0.98:
                shown += 1
                red = sample.image[..., 0].astype(int) - sample.image[..., 1]
                assert red[sample.mask].mean() > red[~sample.mask].mean() + 80
            else:
                empty += 1
    assert shown > empty


def test_directions_are_not_turned_around(byte_bpe: Any, manifest: Manifest) -> None:
    items = [replace(item, prompt="the left square") for item in manifest.items if item.mask and not item.is_replay]
    config = small_model(byte_bpe, image_mode="squash").config
    samples, rng = ManifestSamples(Manifest(manifest.folder, tuple(items)), config), np.random.default_rng(0)
    for _ in range(20):
        (sample,) = samples.draw(rng, 1, 1, 0)[0]
        assert sample.mask[:, : sample.mask.shape[1] // 2].sum() == sample.mask.sum()


def test_weight_is_how_often_an_item_is_drawn(byte_bpe: Any, manifest: Manifest) -> None:
    items = tuple(replace(item, weight=4.0 if item.image == "0.png" else 1.0) for item in manifest.items if item.mask)
    samples, rng = (
        ManifestSamples(Manifest(manifest.folder, items), small_model(byte_bpe).config),
        np.random.default_rng(0),
    )
    drawn = [samples.draw(rng, 1, 1, 0)[0][0].source for _ in range(400)]
    assert drawn.count("correction:0") / len(drawn) == pytest.approx(4 / 8, abs=0.08)


@pytest.mark.parametrize("foreign_too", [True, False])
def test_foreign_things_are_asked_for_beside_a_manifests_own(
    byte_bpe: Any, manifest: Manifest, foreign_too: bool
) -> None:
    config = small_model(byte_bpe).config
    alone = Manifest(manifest.folder, tuple(item for item in manifest.items if item.mask))
    for given in (alone, manifest):
        samples, rng = ManifestSamples(given, config, foreign=foreign_too), np.random.default_rng(0)
        drawn = [sample for _ in range(20) for sample in samples.draw(rng, 1, 2, 0)[0]]
        foreign = [sample for sample in drawn if sample.source == "negative:foreign"]
        assert bool(foreign) == foreign_too
        assert not any(sample.mask.any() or "square" in sample.prompt for sample in foreign)


def test_memory_is_bounded(byte_bpe: Any, manifest: Manifest) -> None:
    samples = ManifestSamples(manifest, small_model(byte_bpe).config, cache_bytes=3 * 70 * 100 * 3)
    for seed in range(20):
        samples.draw(np.random.default_rng(seed), 2, 2, 1)
    assert len(samples._cache) == 3


def test_all_may_ask_the_same(source: Path, manifest: Manifest, tmp_path: Path) -> None:
    """A project with one label: no word tells the rows apart."""
    same = Manifest(manifest.folder, tuple(item for item in manifest.items if item.mask))
    assert finetune(source, same, tmp_path / "out", replace(OPTIONS, steps=1, replay=0, measure_every=9))


def test_nothing_to_learn_is_said(source: Path, manifest: Manifest, tmp_path: Path) -> None:
    only = Manifest(manifest.folder, tuple(item for item in manifest.items if item.split == "holdout"))
    with pytest.raises(ManifestError, match="no items to train on"):
        finetune(source, only, tmp_path / "out", OPTIONS)


def test_a_loss_that_explodes_is_said(source: Path, manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="smaller --learning-rate"):
        finetune(source, manifest, tmp_path / "out", replace(OPTIONS, learning_rate=1e30))


@pytest.mark.parametrize("choice", [{"bf16": True}, {"save_memory": True}], ids=str)
def test_precision_and_memory_are_chosen(
    source: Path, manifest: Manifest, tmp_path: Path, choice: dict[str, bool]
) -> None:
    assert finetune(source, manifest, tmp_path / "run", replace(OPTIONS, **choice))
    before, after = load_file(source / "model.safetensors"), load_file(tmp_path / "run" / "model" / "model.safetensors")
    trained = [name for name in before if not name.startswith("image_tokenizer")]
    changed = [name for name in trained if not torch.equal(before[name], after[name])]
    assert len(changed) > len(trained) / 2
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in after.values())


def test_an_image_that_cannot_be_read_is_told_and_left_out(
    source: Path, manifest: Manifest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(manifest.folder, folder)
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:60])
    damaged = Manifest.read(folder / "set.jsonl")
    assert finetune(source, damaged, tmp_path / "run", replace(OPTIONS, steps=8, groups=4))
    assert capfd.readouterr().err.count("0.png is left out: ") == 1


def test_a_set_that_cannot_be_read_at_all_ends_the_run(source: Path, manifest: Manifest, tmp_path: Path) -> None:
    lost = replace(manifest, folder=tmp_path)
    with pytest.raises(ManifestError, match="there is no such file"):
        finetune(source, lost, tmp_path / "run", OPTIONS)


def test_cocos_annotations_are_learnt_from(source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set" / "images").mkdir(parents=True)
    Image.new("RGB", (40, 40), "grey").save(tmp_path / "set" / "images" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 40}],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[5, 5, 30, 5, 30, 30, 5, 30]]},
            {"id": 2, "image_id": 9, "category_id": 1, "segmentation": []},
        ],
    }
    (tmp_path / "set" / "train.json").write_text(json.dumps(content))
    arguments = ["--model", source, "--manifest", tmp_path / "set" / "train.json", "--out", tmp_path / "run"]
    options = ["--name", "coco", "--steps", "2", "--groups", "2", "--replay", "1", "--device", "cpu"]
    assert finetuning.main([*map(str, arguments), *options]) == finetuning.FINISHED
    assert ARGenSeg.from_pretrained(tmp_path / "run" / "model").config.model_name == "coco"
    assert "annotation 2 is left out" in capfd.readouterr().err


def _run_as_two_processes(arguments: list[str], folder: Path) -> tuple[list[int], str]:
    """Both exit codes and the ends of both logs. What `accelerate launch` and `torchrun` set, over the loopback alone:
    they ask for the machine's own name, which not every machine can look up."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    logs = [folder / f"process-{rank}.log" for rank in (0, 1)]
    started = []
    for rank, path in enumerate(logs):
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"}
        with path.open("w") as log:
            environment = {**os.environ, **shared, **ranks}
            started.append(subprocess.Popen([sys.executable, *arguments], env=environment, stdout=log, stderr=log))
    try:
        codes = [process.wait(timeout=280) for process in started]
    finally:
        for process in started:
            process.kill()
    return codes, "\n".join(path.read_text()[-3000:] for path in logs)


def test_several_processes_learn_what_one_does(source: Path, manifest: Manifest, tmp_path: Path) -> None:
    """Each computes its share of the pictures; with no noise in the loss the sum is that of one process."""
    options = replace(OPTIONS, save_memory=True, steps=2, groups=4, replay=2, checkpoint_every=9, measure_every=9)
    finetune(source, manifest, tmp_path / "one", options)
    command = [
        *("-m", "argenseg_model.training.finetune", "--model", str(source)),
        *("--out", str(tmp_path / "two"), "--manifest", str(manifest.folder / "set.jsonl"), "--name", options.name),
        *("--save-memory", "--steps", "2", "--groups", "4", "--replay", "2", "--prompts", "2", "--checkpoint-every"),
        *("9", "--measure-every", "9", "--learning-rate", "1e-3", "--device", "cpu"),
    ]
    meet = "import torch.distributed as d; d.init_process_group('gloo'); d.barrier()"
    codes, logs = _run_as_two_processes(["-c", meet], tmp_path)
    if codes != [0, 0]:
        pytest.skip(f"two processes cannot meet on this machine, whatever they train: {logs}")
    codes, logs = _run_as_two_processes(command, tmp_path)
    assert codes == [0, 0], logs
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    before = load_file(source / "model.safetensors")
    learnt = sum((one[name] - before[name]).abs().sum().item() for name in one)
    apart = sum((one[name] - two[name]).abs().sum().item() for name in one)
    assert learnt > 0
    assert apart < 0.02 * learnt  # rounding, in the order of the sum
