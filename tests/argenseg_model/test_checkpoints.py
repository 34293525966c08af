"""Our layout from disk: saved whole or not at all, and where it is read from, and where to."""

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file as load_torch_file
from transformers.utils.logging import is_progress_bar_enabled

from argenseg_model import ARGenSeg
from argenseg_model.checkpoints import forbid_tf32_convolutions
from argenseg_model.errors import ARGenSegError, CheckpointError
from argenseg_model.tokenizer import Tokenizer
from tests.argenseg_model.checkpoint_files import Tensors, assert_same_weights, contents, restore, write_official
from tests.argenseg_model.conftest import ParityCase, small_model
from tests.argenseg_model.parity import recipe


def test_saving_and_loading_gives_identical_outputs(one_case: ParityCase, tmp_path: Path) -> None:
    one_case.model.save_pretrained(tmp_path / "saved")
    assert sorted(contents(tmp_path / "saved")) == ["config.json", "model.safetensors"]
    loaded = ARGenSeg.from_pretrained(tmp_path / "saved")
    assert not loaded.training and loaded.tokenizer is None
    assert_same_weights(loaded, one_case.model)
    ids = torch.tensor([recipe.prompt_ids(one_case.seed) + recipe.ANSWER])
    before, after = (model.generate(one_case.pixels_13SS, ids) for model in (one_case.model, loaded))
    for name in ("text_ids", "visual_ids", "pictures"):
        assert torch.equal(getattr(before, name), getattr(after, name))


def test_the_tokenizer_is_saved_with_the_model(small: ARGenSeg, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    loaded = ARGenSeg.from_pretrained(tmp_path)
    assert loaded.tokenizer.encode("all nuclei") == small.tokenizer.encode("all nuclei")
    assert loaded.config.to_dict() == small.config.to_dict()
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o666 & ~current_umask()}


def current_umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_rotary_frequencies(small: ARGenSeg, tmp_path: Path, dtype: torch.dtype) -> None:
    small.save_pretrained(tmp_path)
    loaded = ARGenSeg.from_pretrained(tmp_path, dtype=dtype)
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    frequencies = loaded.language_model.rotary_emb.inv_freq
    assert frequencies.dtype == torch.float32
    assert torch.equal(frequencies, small.language_model.rotary_emb.inv_freq)
    ((result,),) = loaded.segment(np.zeros((20, 30, 3), np.uint8), "all nuclei")
    assert result.mask.shape == (20, 30) and np.isfinite(result.score)
    loaded.save_pretrained(tmp_path / "half")
    assert {tensor.dtype for tensor in load_torch_file(tmp_path / "half" / "model.safetensors").values()} == {dtype}
    assert_same_weights(ARGenSeg.from_pretrained(tmp_path / "half", dtype=dtype), loaded)


def test_a_dtype_may_be_given_by_its_name(saved: dict[str, bytes], tmp_path: Path) -> None:
    restore(saved, tmp_path)
    for name in ("bfloat16", "torch.bfloat16"):
        assert ARGenSeg.from_pretrained(tmp_path, dtype=name).dtype == torch.bfloat16
    for wrong in ("half precision", "int8", torch.int8, None):
        with pytest.raises(ARGenSegError, match=r"unknown dtype .*: use torch\.float32"):
            ARGenSeg.from_pretrained(tmp_path, dtype=wrong)


def test_saving_is_silent(small: ARGenSeg, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small.save_pretrained(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert is_progress_bar_enabled()  # for others, as before


def test_a_file_in_place_of_the_folder_is_named(small: ARGenSeg, tmp_path: Path) -> None:
    (tmp_path / "a_file").write_text("kept")
    for folder in (tmp_path / "a_file", tmp_path / "a_file" / "model"):
        with pytest.raises(CheckpointError, match=r"a_file.*: is no folder"):
            small.save_pretrained(folder)
    assert contents(tmp_path) == {"a_file": b"kept"}


def test_a_model_saved_into_its_own_folder_stays_whole(byte_bpe: Tokenizer, tmp_path: Path) -> None:
    """Its weights are views of the files that are replaced."""
    small_model(byte_bpe).save_pretrained(tmp_path)
    model = ARGenSeg.from_pretrained(tmp_path)
    with torch.no_grad():
        model.pos_1LC.add_(1)
    model.save_pretrained(tmp_path)
    assert_same_weights(ARGenSeg.from_pretrained(tmp_path), model)


def test_saving_over_shards_leaves_none_of_them(official: Tensors, small: ARGenSeg, tmp_path: Path) -> None:
    keys = list(official)
    write_official(tmp_path, *({key: official[key] for key in part} for part in (keys[:9], keys[9:])))
    (tmp_path / "notes.txt").write_text("kept")
    small.save_pretrained(tmp_path)
    assert sorted(contents(tmp_path)) == ["config.json", "model.safetensors", "notes.txt", "tokenizer.json"]
    assert_same_weights(ARGenSeg.from_pretrained(tmp_path), small)


def test_saving_over_another_kind_of_tokenizer_leaves_one(small: ARGenSeg, tmp_path: Path) -> None:
    for name in ("tokenizer.model", "tokenizer_config.json"):
        (tmp_path / name).write_bytes(b"the release's")
    small.save_pretrained(tmp_path)
    assert sorted(contents(tmp_path)) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert ARGenSeg.from_pretrained(tmp_path).tokenizer.encode("all nuclei") == small.tokenizer.encode("all nuclei")


def test_a_process_that_does_not_write_removes_nothing(small: ARGenSeg, tmp_path: Path) -> None:
    """transformers' is_main_process: of many processes that train one model, one writes."""
    small.save_pretrained(tmp_path)
    before = contents(tmp_path)
    model = copy.copy(small)
    model.tokenizer = None
    model.save_pretrained(tmp_path, is_main_process=False)
    assert contents(tmp_path) == before


def test_a_failed_save_changes_nothing(byte_bpe: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(byte_bpe)
    model.save_pretrained(tmp_path / "old")
    before = contents(tmp_path)

    def full_disk(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model.tokenizer, "save", full_disk)
    with torch.no_grad():
        model.pos_1LC.add_(1)
    for folder in ("old", "new"):
        with pytest.raises(OSError, match="No space left"):
            model.save_pretrained(tmp_path / folder)
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]


def test_what_a_killed_save_left_is_cleared(small: ARGenSeg, tmp_path: Path) -> None:
    (tmp_path / ".saving.part").mkdir()
    (tmp_path / ".saving.part" / "model.safetensors").write_bytes(b"half")
    small.save_pretrained(tmp_path)
    assert sorted(contents(tmp_path)) == ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere/model", "~/model", "nowhere", "a/b/c", __file__])
def test_a_source_that_is_nothing_is_refused(source: str) -> None:
    with pytest.raises(CheckpointError, match="give a folder, a Hub id"):
        ARGenSeg.from_pretrained(source)


def test_a_hub_id_is_read_from_the_hubs_cache(small: ARGenSeg, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="someone/model: neither a folder here nor a model that could be fetched"):
        ARGenSeg.from_pretrained("someone/model", cache_dir=tmp_path, local_files_only=True)
    cached = tmp_path / "models--someone--model"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    small.save_pretrained(cached / "snapshots" / ("0" * 40))
    loaded = ARGenSeg.from_pretrained("someone/model", cache_dir=tmp_path, local_files_only=True)
    assert_same_weights(loaded, small)


def test_options_that_do_not_exist_are_not_passed_over(saved: dict[str, bytes], tmp_path: Path) -> None:
    restore(saved, tmp_path)
    with pytest.raises(TypeError, match="takes no device_map, torch_dtype"):
        ARGenSeg.from_pretrained(tmp_path, torch_dtype=torch.bfloat16, device_map="auto")
    assert isinstance(ARGenSeg.from_pretrained(tmp_path, revision="main", token=None), ARGenSeg)


def test_float32_on_a_gpu_is_not_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    forbid_tf32_convolutions()
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


def test_devices(saved: dict[str, bytes], tmp_path: Path) -> None:
    restore(saved, tmp_path)
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    assert ARGenSeg.from_pretrained(tmp_path, device="auto").device.type == automatic
    with pytest.raises(ARGenSegError, match="unknown device 'gpu'"):
        ARGenSeg.from_pretrained(tmp_path, device="gpu")
    if automatic == "cpu":
        with pytest.raises(ARGenSegError, match="finds no CUDA GPU"):
            ARGenSeg.from_pretrained(tmp_path, device="cuda")
