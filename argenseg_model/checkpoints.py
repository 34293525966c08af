"""Checkpoints on disk: the release's layout (read only) and ours (read and written). No code of theirs is ever run."""

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from argenseg_model import official_layout
from argenseg_model.configuration import ARGenSegConfig
from argenseg_model.errors import ARGenSegError, CheckpointError
from argenseg_model.starter import STARTER_DIR
from argenseg_model.tokenizer import BYTE_BPE_FILE, SENTENCEPIECE_FILE, TOKENIZER_FILES, load_tokenizer

CONFIG_FILE, WEIGHTS_FILE, INDEX_FILE = "config.json", "model.safetensors", "model.safetensors.index.json"
DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64)}
"""What weights may be in memory, by name."""


def load_model(
    cls: type[PreTrainedModel], source: str | Path, device: str, dtype: torch.dtype | str, **hub: Any
) -> PreTrainedModel:
    """See `ARGenSeg.from_pretrained`. Tensors go one by one into a model made without memory of its own.

    On the CPU, weights that keep their dtype stay views of the mapped files: replace such files, never write into them.
    """
    target, dtype = _as_device(device), _as_dtype(dtype)
    folder = locate(source, **hub)
    if target.type == "cuda" and dtype == torch.float32:
        forbid_tf32_convolutions()
    model, table = _model_described_in(cls, folder, dtype)
    state = model.state_dict()
    loaded: dict[str, Tensor] = {}
    for key, tensor in read_tensors(folder):
        for name, value in table.rename(key, tensor) if table else [(key, tensor)]:
            _check_tensor(folder, key, tensor, name, value, state)
            loaded[name] = value.to(device=target, dtype=dtype)
    if missing := state.keys() - loaded.keys():
        keys = sorted({official_layout.official_key(name) if table else name for name in missing})
        raise CheckpointError(
            f"{folder}: {len(keys)} tensors are missing: {', '.join(keys[:8])}{', …' if len(keys) > 8 else ''}; "
            "was the download complete?"
        )
    model.load_state_dict(loaded, assign=True)
    materialise_buffers(model, target)
    if (folder / SENTENCEPIECE_FILE).is_file() or (folder / BYTE_BPE_FILE).is_file():
        model.tokenizer = load_tokenizer(folder)
    return model.eval()


def save_model(folder: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder of its own, then move its files into `folder`: when it fails, nothing has changed.

    Weights and tokenizer files of an earlier checkpoint in `folder` that would be read instead of, or beside, the new
    ones are removed. A model without tokenizer leaves those that are there.
    Raises CheckpointError where `folder` cannot be one, because a file is in its way.
    """
    folder = Path(folder)
    is_new = not folder.exists()
    partial = folder / ".saving.part"
    shutil.rmtree(partial, ignore_errors=True)  # of a killed run
    try:
        partial.mkdir(parents=True)
    except NotADirectoryError as error:
        raise CheckpointError(f"{folder}: is no folder, and a file is in the way of one; give another path") from error
    try:
        with _no_progress_bar():
            write(partial)
        written = sorted(partial.iterdir())
        for file in written:
            shutil.copymode(partial / CONFIG_FILE, file)  # safetensors makes its files unreadable for others
        for file in written:
            file.replace(folder / file.name)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    partial.rmdir()
    new = {file.name for file in written}
    old = {file.name for file in folder.glob("model*.safetensors")} | {INDEX_FILE} if new else set()
    if not new.isdisjoint(TOKENIZER_FILES):
        old |= set(TOKENIZER_FILES)
    for name in old - new:
        (folder / name).unlink(missing_ok=True)


def forbid_tf32_convolutions() -> None:
    """cuDNN would round float32 convolutions to 10 bits of mantissa, by default: codes would differ from the release's.

    It holds for the process. (torch forbids TF32 for matrix products by itself.)
    """
    torch.backends.cudnn.allow_tf32 = False


def locate(source: str | Path, **hub: Any) -> Path:
    """The folder of a model: "starter", a folder, or a Hub id, fetched (weights, config and tokenizer files only).

    Raises TypeError for options that are none of huggingface_hub.snapshot_download, also where nothing is fetched.
    """
    from huggingface_hub import snapshot_download

    if unknown := hub.keys() - inspect.signature(snapshot_download).parameters.keys():
        raise TypeError(f"from_pretrained takes no {', '.join(sorted(unknown))} (device and dtype are its options)")
    if str(source) == "starter":
        source = STARTER_DIR
    if Path(source).is_dir():
        return Path(source)
    if Path(source).exists() or str(source).count("/") != 1 or str(source).startswith((".", "/", "~")):
        raise CheckpointError(f"{source}: no such folder; give a folder, a Hub id such as owner/name, or 'starter'")
    try:
        return Path(snapshot_download(str(source), allow_patterns=["*.json", "*.safetensors", "*.model"], **hub))
    except Exception as error:  # the Hub client raises many kinds, all with the same remedy
        raise CheckpointError(
            f"{source}: neither a folder here nor a model that could be fetched from the Hub ({type(error).__name__}); "
            "check the name and the network, or copy the model's folder here and give its path"
        ) from error


def fingerprint(source: str | Path) -> str:
    """Tells one state of a model's files from another, by their names, sizes and times: no file is read whole."""
    folder = locate(source)
    files = sorted(file for pattern in ("*.json", "*.safetensors", "*.model") for file in folder.glob(pattern))
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a checkpoint folder, without what could make transformers fetch or run code."""
    return _without_code(_read_json_object(folder / CONFIG_FILE))


def read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (key, tensor) of a checkpoint's *.safetensors files, one tensor in memory at a time.

    The files are those that the index names, else model.safetensors, else all there are.
    """
    index = folder / INDEX_FILE
    if index.is_file():
        weight_map = _read_json_object(index).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise CheckpointError(f"{index} holds no weight_map from tensors to files; fetch it again")
        files = sorted({folder / Path(name).name for name in weight_map.values()})
    elif (folder / WEIGHTS_FILE).is_file():
        files = [folder / WEIGHTS_FILE]
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


def _as_device(device: str | torch.device) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        target = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ARGenSegError(f"unknown device {device!r}: use 'cpu', 'cuda' or 'auto'") from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise ARGenSegError(f"device {device!r} was asked for, but torch finds no CUDA GPU: use 'cpu' or 'auto'")
    return target


def _as_dtype(dtype: torch.dtype | str) -> torch.dtype:
    name = f"torch.{str(dtype).removeprefix('torch.')}"
    if name not in DTYPES:
        raise ARGenSegError(f"unknown dtype {dtype!r}: use {', '.join(DTYPES)}, or the name of one")
    return DTYPES[name]


def empty_model(cls: type[PreTrainedModel], config: ARGenSegConfig, dtype: torch.dtype) -> PreTrainedModel:
    """A model on the meta device: shapes without memory."""
    with torch.device("meta"):
        return cls._from_config(config, dtype=dtype)


def load_config(folder: Path) -> ARGenSegConfig:
    """The configuration of a checkpoint folder in either layout. CheckpointError says what is wrong with it."""
    return _config_of(folder, read_config(folder))


def _config_of(folder: Path, raw: dict[str, Any]) -> ARGenSegConfig:
    with _described(folder):
        if raw.get("model_type") == ARGenSegConfig.model_type:
            return ARGenSegConfig(**{k: v for k, v in raw.items() if k != "model_type"})
        return official_layout.convert_config(raw)


def _model_described_in(
    cls: type[PreTrainedModel], folder: Path, dtype: torch.dtype
) -> tuple[PreTrainedModel, official_layout.KeyTable | None]:
    """The model that config.json describes, on the meta device; with the table of keys for the official layout."""
    raw = read_config(folder)
    config = _config_of(folder, raw)
    is_ours = raw.get("model_type") == ARGenSegConfig.model_type
    with _described(folder):
        return empty_model(cls, config, dtype), None if is_ours else official_layout.KeyTable(config)


@contextmanager
def _described(folder: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    except Exception as error:  # a value of any wrong kind can fail anywhere in the configurations and modules
        raise CheckpointError(
            f"{folder / CONFIG_FILE} describes no model that can be built ({type(error).__name__}: {error}); "
            "fetch it again"
        ) from error


def _check_tensor(folder: Path, key: str, tensor: Tensor, name: str, value: Tensor, state: dict[str, Tensor]) -> None:
    if name not in state:
        raise CheckpointError(f"{folder}: unknown tensor {key!r}; is this an ARGenSeg checkpoint?")
    if value.shape != state[name].shape:
        raise CheckpointError(
            f"{folder}: tensor {key!r} has shape {tuple(tensor.shape)}, which does not fit config.json: "
            f"{name} is {tuple(value.shape)} instead of {tuple(state[name].shape)}"
        )
    if not value.is_floating_point():
        raise CheckpointError(f"{folder}: tensor {key!r} is {value.dtype}: quantised checkpoints are not read")


def _read_json_object(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing: {path.parent} is not a checkpoint folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}); fetch it again") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} does not hold a JSON object; fetch it again")
    return raw


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """transformers draws one for the files that it writes, of which there is one."""
    was_enabled = is_progress_bar_enabled()
    if was_enabled:
        disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            enable_progress_bar()


_CODE_KEYS = ("auto_map", "attn_implementation", "experts_implementation", "quantization_config")


def _without_code(raw: Any) -> Any:
    """A configuration without `auto_map` and without attention kernels, which transformers would fetch from the Hub."""
    if isinstance(raw, dict):
        return {k: _without_code(v) for k, v in raw.items() if not any(code in k for code in _CODE_KEYS)}
    return [_without_code(v) for v in raw] if isinstance(raw, list) else raw


def materialise_buffers(model: torch.nn.Module, device: torch.device) -> None:
    """Buffers that no checkpoint holds (rotary frequencies) are computed again, in float32 as they need to be."""
    for module in model.modules():
        if any(buffer.is_meta for buffer in module.buffers(recurse=False)):
            fresh = type(module)(module.config)  # rotary embeddings are made from their configuration alone
            for name, buffer in fresh.named_buffers(recurse=False):
                setattr(module, name, buffer.to(device))
