"""Checkpoints on disk for tests: written in the release's layout, compared, put back whole."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from argenseg_model import ARGenSeg
from tests.argenseg_model.parity import recipe

Tensors = dict[str, np.ndarray]


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


def restore(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
