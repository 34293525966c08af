"""Checkpoints on disk: the release's layout (read only) and ours (read and written). No code of theirs is ever run."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel

from argenseg_model import official_layout
from argenseg_model.configuration import ARGenSegConfig
from argenseg_model.errors import CheckpointError
from argenseg_model.starter import STARTER_DIR
from argenseg_model.tokenizer import BYTE_BPE_FILE, SENTENCEPIECE_FILE, load_tokenizer


def load_model(
    cls: type[PreTrainedModel], source: str | Path, device: str, dtype: torch.dtype, **hub: Any
) -> PreTrainedModel:
    """See `ARGenSeg.from_pretrained`. Weights are read shard by shard into a model made without memory of its own."""
    folder = locate(source, **hub)
    raw = read_config(folder)
    if raw.get("model_type") == ARGenSegConfig.model_type:
        config, rename = ARGenSegConfig(**{k: v for k, v in raw.items() if k != "model_type"}), None
    else:
        config, rename = official_layout.convert_config(raw), official_layout.KeyTable
    with torch.device("meta"):
        model = cls._from_config(config, dtype=dtype)
    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    state = {name: tensor for name, tensor in model.state_dict().items()}
    table = rename(config) if rename else None
    loaded: dict[str, Tensor] = {}
    for key, tensor in read_tensors(folder):
        for name, value in table.rename(key, tensor) if table else [(key, tensor)]:
            if name not in state:
                raise CheckpointError(f"{folder}: unknown tensor {key!r}; is this an ARGenSeg checkpoint?")
            if value.shape != state[name].shape:
                raise CheckpointError(
                    f"{folder}: tensor {key!r} has shape {tuple(value.shape)}, "
                    f"config.json asks for {tuple(state[name].shape)} ({name})"
                )
            loaded[name] = value.to(device=target, dtype=dtype if value.is_floating_point() else value.dtype)
    if missing := sorted(state.keys() - loaded.keys()):
        raise CheckpointError(
            f"{folder}: {len(missing)} tensors are missing, the first are {', '.join(missing[:5])}; "
            "was the download complete?"
        )
    model.load_state_dict(loaded, assign=True)
    _materialise_buffers(model, target)
    if (folder / SENTENCEPIECE_FILE).is_file() or (folder / BYTE_BPE_FILE).is_file():
        model.tokenizer = load_tokenizer(folder)
    return model.eval()


def locate(source: str | Path, **hub: Any) -> Path:
    """The folder of a model: "starter", a folder, or a Hub id, fetched (weights, config and tokenizer files only)."""
    if str(source) == "starter":
        source = STARTER_DIR
    if Path(source).is_dir():
        return Path(source)
    if Path(source).exists() or str(source).count("/") != 1 or str(source).startswith((".", "/", "~")):
        raise CheckpointError(f"{source}: no such folder; give a folder, a Hub id such as owner/name, or 'starter'")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), allow_patterns=["*.json", "*.safetensors", "*.model"], **hub))
    except Exception as error:  # the Hub client raises many kinds, all with the same remedy
        raise CheckpointError(
            f"{source}: neither a folder here nor a model that could be fetched from the Hub ({type(error).__name__}); "
            "check the name and the network, or copy the model's folder here and give its path"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a checkpoint folder."""
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing: {folder} is not a checkpoint folder") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return raw


def read_tensors(folder: Path) -> Any:
    """Yield (key, tensor) of all *.safetensors files, one tensor in memory at a time."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = sorted({folder / Path(name).name for name in json.loads(index.read_text())["weight_map"].values()})
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder}: no *.safetensors file (pickled *.bin weights are not read, for safety)")
    for file in files:
        try:
            with safe_open(file, framework="pt") as shard:
                for key in shard.keys():  # noqa: SIM118 - safe_open is no mapping
                    yield key, shard.get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{file}: cannot be read ({error}); fetch it again") from error


def _materialise_buffers(model: torch.nn.Module, device: torch.device) -> None:
    """Buffers that no checkpoint holds (rotary frequencies) are computed again, in float32 as they need to be."""
    for module in model.modules():
        if any(buffer.is_meta for buffer in module.buffers(recurse=False)):
            fresh = type(module)(module.config)  # rotary embeddings are made from their configuration alone
            for name, buffer in fresh.named_buffers(recurse=False):
                setattr(module, name, buffer.to(device))
