"""A model version's name: weights + prompts + options, short enough to read, and different when any of them differs."""

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path

from labeling.prompts.label_config import LabelConfig
from labeling.prompts.plan import plan_prompts

_SAMPLE_BYTES = 1 << 20  # read of each part of a large weight file
_SAMPLES = 16


_SEPARATOR = " · "
_HASHED = {".safetensors", ".pt", ".pth", ".bin", ".json", ".model"}


def weights_name(model: str) -> tuple[str, str]:
    """A model's readable name and a digest (hex) of its weights, without loading torch.

    `model` is "starter", a folder, or a hub id. The name is `model_name` of its config.json, else the folder's own.
    Small weight files are hashed whole, large ones by size and samples, so that /setup can be answered at once. A hub
    id's digest is that of the id.
    """
    folder = model_folder(model)
    if not folder.is_dir():
        return Path(model).name or model, hashlib.sha256(model.encode()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in _HASHED and file.is_file():
            stat = file.stat()
            digest.update(f"{file.name}\0{_file_digest(str(file), stat.st_size, stat.st_mtime_ns)}\0".encode())
    return _model_name(folder), digest.hexdigest()


def model_version(model: str, config: LabelConfig) -> str:
    """Such as "starter-1 · a1b2c3", the same for all tasks of a project."""
    name, weights = weights_name(model)
    plan = plan_prompts(config, {})
    if not plan.items:  # a plain tag: the tasks bring the prompts, not the options
        plan = plan_prompts(config, {"prompt": "a task's own"})
    asked = f"{weights} {plan.digest()}"
    if config.image_key != "image":
        asked += f" {config.image_key}"  # another of the task's images: other masks
    digest = hashlib.sha256(asked.encode()).hexdigest()
    return f"{name}{_SEPARATOR}{digest[:6]}"


def weights_of(version: str) -> str:
    """The name of the weights in a model version: "starter-1" of "starter-1 · a1b2c3"; "" where it is no version."""
    return version.rpartition(_SEPARATOR)[0]


def model_folder(model: str) -> Path:
    """Where a model's files are, if it is on this host; a hub id becomes a path that is not there."""
    if model == "starter":
        from argenseg_model.starter import STARTER_DIR  # only this choice needs floor 1

        return Path(STARTER_DIR)
    return Path(model).expanduser()


def _model_name(folder: Path) -> str:
    try:
        name = json.loads((folder / "config.json").read_text()).get("model_name")
    except (OSError, ValueError, AttributeError):
        name = None
    name = name if isinstance(name, str) and name.strip() else folder.resolve().name
    return re.sub(r"\s+", " ", name).strip()[:60]


@lru_cache(maxsize=256)
def _file_digest(path: str, size: int, modified_ns: int) -> str:
    digest = hashlib.sha256(f"{size}\0".encode())
    with Path(path).open("rb") as file:
        if size <= 4 * _SAMPLES * _SAMPLE_BYTES:
            digest.update(file.read())
        else:
            for sample in range(_SAMPLES):
                file.seek(sample * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
