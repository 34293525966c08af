"""The release's layout from disk: what loads, what is refused and with which words."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from argenseg_model import ARGenSeg
from argenseg_model.errors import CheckpointError
from argenseg_model.official_layout import KeyTable, convert_config, official_key
from tests.argenseg_model.checkpoint_files import Tensors, assert_same_weights, write_official
from tests.argenseg_model.conftest import ParityCase
from tests.argenseg_model.parity import recipe

REAL = {
    "hidden": 4096, "layers": 32, "heads": 32, "kv_heads": 8, "inter": 14336,
    "vit_hidden": 1024, "vit_layers": 24, "vit_heads": 16, "vit_inter": 4096, "vae_ch": 160,
}  # fmt: skip
"""Sizes of inclusionAI/ARGenSeg-8B."""


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
