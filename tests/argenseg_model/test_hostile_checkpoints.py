"""Hostile and damaged checkpoints: nothing of theirs is executed, and what is wrong is named."""

import itertools
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argenseg_model import ARGenSeg
from argenseg_model.errors import ARGenSegError, CheckpointError
from argenseg_model.tokenizer import Tokenizer
from tests.argenseg_model.checkpoint_files import Tensors, assert_same_weights, restore, write_official
from tests.argenseg_model.conftest import small_config
from tests.argenseg_model.parity import recipe


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
        {"least_scores": {"name": -0.1}},
        {"score_curves": {"name drawn": [1.0, 2.0]}},
        {"score_curves": {"name drawn": [0.0, 1.0, float("nan")]}},
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
        config[key] = (config[key] or {}) | value if isinstance(value, dict) else value
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
