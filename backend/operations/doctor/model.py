"""The model: are the weights there, and, if asked for, does it segment?"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from backend.operations.doctor.findings import Finding, failure, ok, skipped, warning
from labeling.errors import StoreMissing
from labeling.extras import install_command, is_installed
from labeling.settings import Settings
from labeling.store import Store
from labeling.versions import weights_name
from worker.projects.active_model import active_model_of

SEGMENT_LIMIT_S = 300.0
_WEIGHTS = (".safetensors", ".pt", ".bin")
_SHOWN_CHARACTERS = 300


def weights(settings: Settings, number: int | None = None) -> Iterator[Finding]:
    """Those of the model that is active for project `number` (None: the default): found, and which ones?

    A promoted version is a folder, which every worker must have.
    """
    with suppress(StoreMissing):  # the database has a check of its own
        yield from _versions_elsewhere(settings)
    model = active_model_of(settings, number)
    folder = _folder(model)
    if folder is None and Path(model).is_absolute():
        yield failure(f"{model} is not there.", "Promote another version (argenseg models), or set ARGENSEG_MODEL.")
        return
    if folder is None:
        yield warning(
            f"{model!r} is no folder: the worker loads it from the Hub.",
            "Download it, and set ARGENSEG_MODEL to its folder, if the worker has no way to the Hub.",
        )
        return
    if not any(file.suffix in _WEIGHTS for file in folder.iterdir()):
        yield failure(
            f"{folder} holds no weights.",
            "Set ARGENSEG_MODEL to a folder with config.json and .safetensors. See argenseg models list.",
        )
        return
    name, digest = weights_name(model)
    yield ok(f"{name}, weights {digest[:12]}, in {folder}.")


def _versions_elsewhere(settings: Settings) -> Iterator[Finding]:
    with Store.open(settings.database_url, settings.blob_url, must_exist=True) as store:
        for version in store.models.all():
            active_for = store.models.active_for(version.name)
            if active_for and not Path(version.folder).is_dir():
                yield warning(
                    f"{version.name}, which is active for {', '.join(active_for)}, is not on this host:"
                    f" no {version.folder}.",
                    "A worker here cannot load it: share ARGENSEG_DATA_DIR among hosts, or copy the folder to here.",
                )


def segmentation(settings: Settings, number: int | None = None, *, is_wanted: bool) -> Iterator[Finding]:
    """Load it in a process of its own, as a worker does, and segment a tiny picture."""
    if not is_wanted:
        yield skipped("Not loaded; argenseg doctor --model does that.")
        return
    if not is_installed("worker"):
        yield failure("Torch and what else the model needs is not installed here.", install_command("worker"))
        return
    began = time.monotonic()
    loader = [] if settings.model_loader is None else ["--loader", settings.model_loader]
    options = ["--model", active_model_of(settings, number), "--device", settings.device, *loader]
    command = [sys.executable, "-m", "worker.gpu_worker.try_model", *options]
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=SEGMENT_LIMIT_S - 10, check=True)
    except subprocess.TimeoutExpired:
        yield failure("The model took minutes over a tiny picture.", "Is the machine busy, or DEVICE wrong?")
    except subprocess.CalledProcessError as error:
        reported = (error.stderr or error.stdout).strip()[-_SHOWN_CHARACTERS:]
        yield failure(f"The model cannot be used: {reported}", "Check ARGENSEG_MODEL, MODEL_LOADER and DEVICE.")
    else:
        yield ok(f"Loaded, and a tiny picture segmented, in {time.monotonic() - began:.1f} s.")


def _folder(model: str) -> Path | None:
    if model == "starter":
        from argenseg_model.starter import STARTER_DIR  # only this choice needs floor 1

        return Path(STARTER_DIR)
    folder = Path(model).expanduser()
    return folder if folder.is_dir() else None
