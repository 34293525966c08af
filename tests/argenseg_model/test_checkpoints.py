"""Both layouts from disk: what loads, what is refused and with which words, and that nothing of theirs is executed."""

import copy
import itertools
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch_file

from argenseg_model import ARGenSeg
from argenseg_model.checkpoints import forbid_tf32_convolutions
from argenseg_model.errors import ARGenSegError, CheckpointError
from argenseg_model.official_layout import KeyTable, convert_config, official_key
from argenseg_model.tokenizer import Tokenizer
from tests.argenseg_model.conftest import ParityCase, small_config, small_model
from tests.argenseg_model.parity import recipe

REAL = {
    "hidden": 4096, "layers": 32, "heads": 32, "kv_heads": 8, "inter": 14336,
    "vit_hidden": 1024, "vit_layers": 24, "vit_heads": 16, "vit_inter": 4096, "vae_ch": 160,
}  # fmt: skip
"""Sizes of inclusionAI/ARGenSeg-8B."""

Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def official(one_case: ParityCase) -> Tensors:
    return load_file(one_case.folder / "model.safetensors")


def write_official(folder: Path, *shards: Tensors, **changes: object) -> Path:
    """A checkpoint in the release's layout; with an index when there are several shards."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(recipe.config() | changes))
    names = ["model.safetensors"]
    if len(shards) > 1:
        names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
        weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, folder / name)
    return folder


def assert_same_weights(a: ARGenSeg, b: ARGenSeg) -> None:
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# ---- the release's layout ----


def test_the_key_table_at_the_real_shape() -> None:
    config = convert_config(recipe.config(REAL))
    released = convert_config(recipe.config(REAL) | {"vae_config": {}})  # the release's config names no VQ-VAE sizes
    assert config.vqvae_config.to_dict() == released.vqvae_config.to_dict()
    with torch.device("meta"):
        model = ARGenSeg._from_config(config, dtype=torch.bfloat16)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    table, found, official_keys = KeyTable(config), {}, recipe.shapes(REAL)
    for key, shape in official_keys.items():
        for name, tensor in table.rename(key, torch.empty(shape, device="meta")):
            assert name not in found
            assert official_key(name) == key
            found[name] = tensor.shape
    assert found == expected
    assert len(official_keys) == 901
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == pytest.approx(8.22e9, rel=1e-3)
    assert (config.model_name, config.num_image_tokens) == ("argenseg-8b", 256)
    assert (config.vqvae_config.tokens_per_mask, config.vqvae_config.picture_side) == (680, 256)


def test_shards_and_duplicated_keys(one_case: ParityCase, official: Tensors, tmp_path: Path) -> None:
    """A checkpoint saved after a generate() holds shared modules twice, lvl_1L or not; the copies are ignored."""
    keys = list(official)
    first, second = ({key: official[key] for key in part} for part in (keys[::2], keys[1::2]))
    for key in keys:
        if key.startswith(("image_tokenizer.", "lvl_embed.", "word_embed.")):
            second[f"language_model.{key}"] = np.zeros(3, np.float32)
    second["lvl_1L"] = np.zeros((1, 680), np.int64)
    folder = write_official(tmp_path / "sharded", first, second)
    save_file({"stray": np.zeros(1, np.float32)}, folder / "training_args.safetensors")  # not in the index
    assert_same_weights(ARGenSeg.from_pretrained(folder), one_case.model)


@pytest.mark.parametrize(
    "key",
    [
        "pos_1LC",
        "mlp1.3.bias",
        "language_model.output.weight",
        "language_model.model.layers.1.attention.wqkv.weight",
        "vision_model.encoder.layers.0.attn.qkv.bias",
        "vision_model.embeddings.class_embedding",
        "image_tokenizer.quantize.quant_resi.qresi_ls.2.weight",
    ],
)
def test_a_missing_or_misshapen_tensor_is_named(official: Tensors, tmp_path: Path, key: str) -> None:
    others = {name: tensor for name, tensor in official.items() if name != key}
    with pytest.raises(CheckpointError, match=f"1 tensors are missing: {key};") as error:
        ARGenSeg.from_pretrained(write_official(tmp_path / "missing", others))
    assert str(tmp_path) in str(error.value)
    longer = np.concatenate([official[key], official[key]])
    for wrong in (longer, official[key].flatten()[:7], np.zeros((), np.float32)):
        folder = write_official(tmp_path / "misshapen", others | {key: wrong})
        with pytest.raises(CheckpointError, match=f"tensor '{key}' .*shape") as error:
            ARGenSeg.from_pretrained(folder)
        assert str(wrong.shape) in str(error.value)


def test_unknown_and_quantised_tensors_are_named(official: Tensors, tmp_path: Path) -> None:
    folder = write_official(tmp_path, official, {"vision_model.head.weight": np.zeros(3, np.float32)})
    with pytest.raises(CheckpointError, match=r"unknown tensor 'vision_model\.head\.weight'"):
        ARGenSeg.from_pretrained(folder)
    folder = write_official(tmp_path, official | {"mlp1.1.weight": official["mlp1.1.weight"].astype(np.int8)})
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(CheckpointError, match=r"'mlp1\.1\.weight' is torch\.int8: quantised"):
        ARGenSeg.from_pretrained(folder)


def test_many_missing_tensors_are_counted(official: Tensors, tmp_path: Path) -> None:
    few = {key: official[key] for key in official if key.startswith("image_tokenizer")}
    with pytest.raises(CheckpointError, match=r"\d\d tensors are missing: language_model\.model\.layers\.0\..*, …;"):
        ARGenSeg.from_pretrained(write_official(tmp_path, few))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llava"}, "neither the official ARGenSeg layout nor ours"),
        ({"llm_config": None}, "neither the official"),
        ({"llm_config": {"model_type": "qwen2"}}, "only InternLM2"),
        ({"vision_config": {"qk_normalization": True}}, "only InternLM2 and an InternViT without qk"),
        ({"llm_config": {"model_type": "internlm2"}}, "lacks 'num_hidden_layers'"),
        ({"downsample_ratio": None}, "describes no model"),
        ({"downsample_ratio": 0}, "describes no model"),
        ({"select_layer": -4}, "select_layer -4; only -1"),
        ({"ps_version": "v1"}, "ps_version 'v1'"),
        ({"force_image_size": 336}, "image_size is the vision tower's"),
        ({"vae_config": {"scales": [2, 16]}}, "scales begin with 1"),
        ({"vae_config": "ch"}, "describes no model"),
    ],
)
def test_a_config_of_another_model_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        ARGenSeg.from_pretrained(write_official(tmp_path, {}, **changes))
    assert str(tmp_path) in str(error.value)


# ---- nothing is executed ----


def test_code_beside_a_checkpoint_is_never_executed(
    official: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    auto_map = {name: f"evil.{name}" for name in ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer")}
    config = recipe.config()
    nested = {name: config[name] | {"auto_map": auto_map} for name in ("llm_config", "vision_config")}
    folder = write_official(tmp_path / "model", official, auto_map=auto_map, **nested)
    evil = f"from pathlib import Path\nPath({str(tmp_path / 'executed')!r}).touch()\n"
    for place in (folder, tmp_path):
        (place / "evil.py").write_text(evil)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(tmp_path / "executed")))
    assert isinstance(ARGenSeg.from_pretrained(folder), ARGenSeg)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors file \(pickled"):
        ARGenSeg.from_pretrained(folder)
    assert not (tmp_path / "executed").exists() and "evil" not in sys.modules


class Touch:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mknod, (str(self.path),)


def test_our_config_cannot_ask_for_code_either(small: ARGenSeg, tmp_path: Path) -> None:
    """transformers would fetch an attention kernel (code) of any name from the Hub."""
    small.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for part in (config, config["text_config"], config["vision_config"]):
        part |= {"auto_map": {"AutoModel": "evil.Model"}, "quantization_config": {"quant_method": "gptq"}}
        part |= {"attn_implementation": "someone/kernel", "_attn_implementation": "someone/kernel"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = ARGenSeg.from_pretrained(tmp_path)
    for part in (model, model.language_model, model.vision_model):
        assert part.config._attn_implementation == "sdpa"
        assert not hasattr(part.config, "auto_map")


# ---- our layout ----


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


# ---- hostile and damaged files ----


@pytest.fixture(scope="module")
def saved(small: ARGenSeg, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("saved")
    small.save_pretrained(folder)
    return contents(folder)


def restore(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "config.json is missing"),
        ("config.json", b"", "cannot be read as JSON"),
        ("config.json", b"[]", "does not hold a JSON object"),
        ("config.json", b"\xff\xfe", "cannot be read as JSON"),
        ("config.json", b"[" * 100_000, "cannot be read as JSON"),
        ("config.json", b"{}", "neither the official ARGenSeg layout nor ours"),
        ("model.safetensors", None, r"no \*\.safetensors file"),
        ("model.safetensors", b"", "model.safetensors: cannot be read"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "cannot be read"),
        ("model.safetensors", b"\xff" * 64, "cannot be read"),
        ("model.safetensors.index.json", b"{}", "no weight_map"),
        ("model.safetensors.index.json", b'{"weight_map": {"pos_1LC": 3}}', "no weight_map"),
        ("model.safetensors.index.json", b'{"weight_map": {}}', r"no \*\.safetensors file"),
        ("model.safetensors.index.json", b'{"weight_map": {"pos_1LC": "a.safetensors"}}', "a.safetensors: cannot be"),
    ],
)
def test_damaged_files_are_named(
    saved: dict[str, bytes], tmp_path: Path, file: str, content: bytes | None, message: str
) -> None:
    restore(saved, tmp_path)
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        ARGenSeg.from_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_truncated_weights_are_refused(saved: dict[str, bytes], tmp_path: Path) -> None:
    restore(saved, tmp_path)
    whole = saved["model.safetensors"]
    for length in (4, 8, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read .* fetch it again"):
            ARGenSeg.from_pretrained(tmp_path)


def paths(value: Any, before: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else ()
    return [before, *itertools.chain.from_iterable(paths(v, (*before, k)) for k, v in inner)]


WRONG = [None, True, -1, 0, 1, 7, 2.5, float("nan"), "", "x", [], ["x"], [0], {}, {"x": 1}]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_wrong_value_in_config_json_is_refused_or_harmless(
    saved: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    restore(saved, tmp_path)
    config = json.loads(saved["config.json"])
    *parents, last = data.draw(st.sampled_from(paths(config)[1:]))
    part = config
    for key in parents:
        part = part[key]
    if data.draw(st.booleans()):
        part[last] = data.draw(st.sampled_from(WRONG))
    else:
        del part[last]
    (tmp_path / "config.json").write_text(json.dumps(config))
    try:
        assert isinstance(ARGenSeg.from_pretrained(tmp_path), ARGenSeg)
    except ARGenSegError as error:
        assert str(tmp_path) in str(error)


@pytest.mark.parametrize(
    "changes",
    [
        {"autocontrast": "x"},
        {"autocontrast": 0.5},
        {"least_score": 1.5},
        {"image_mean": ["a", "b", "c"]},
        {"image_mean": [float("nan")] * 3},
        {"image_std": [0, 1, 1]},
        {"ge_start_id": 2.5},
        {"mask_context_id": True},
        {"mask_resize_steps": [0]},
        {"system_message": 3},
        {"vqvae_config": {"phi_ratio": "half"}},
        {"vqvae_config": {"phi_ratio": float("nan")}},
    ],
)
def test_values_that_would_fail_in_use_are_refused_on_loading(
    saved: dict[str, bytes], tmp_path: Path, changes: dict[str, Any]
) -> None:
    restore(saved, tmp_path)
    config = json.loads(saved["config.json"])
    for key, value in changes.items():
        config[key] = config[key] | value if isinstance(value, dict) else value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="describes no model that can be built"):
        ARGenSeg.from_pretrained(tmp_path)


def test_json_may_write_whole_numbers_without_a_point(small: ARGenSeg, saved: dict[str, bytes], tmp_path: Path) -> None:
    restore(saved, tmp_path)
    config = json.loads(saved["config.json"]) | {"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "autocontrast": 0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_same_weights(ARGenSeg.from_pretrained(tmp_path), small)


def test_a_configuration_that_fits_no_model_is_refused_before_it_is_built(byte_bpe: Tokenizer) -> None:
    for changes in ({"tile_overlap": 32}, {"image_mode": "tiles"}, {"visual_token_start": len(byte_bpe) + 1}):
        with pytest.raises(ValueError, match="the configuration breaks the rule"):
            ARGenSeg(small_config(byte_bpe, **changes))


# ---- where it is read from, and where to ----


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
