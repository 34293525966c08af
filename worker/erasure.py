"""Erasing on request: the store, and beside it what this machine keeps of images and fine-tune runs."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from labeling.settings import Settings
from labeling.store import Erasure, ErasureScope, Project, Store

_SOURCE = re.compile(r'"(?:correction|negative):([^"]+)"')  # in a line of a manifest


@dataclass(frozen=True)
class ErasedHere:
    """What went: from the store, and the folders of fine-tune runs that had learnt from any of it."""

    store: Erasure
    runs: tuple[str, ...]


def erase(
    settings: Settings, store: Store, project: Project, scope: ErasureScope, number: int, reason: str
) -> ErasedHere:
    """Erase it as `store.erasure.erase` does, and its traces in this machine's data folder.

    Of a run that learnt from it go the training set and all pictures; its weights and figures stay.
    """
    erasure = store.erasure.erase(project, scope, number, reason)
    for sha256 in erasure.images:
        (settings.image_cache / sha256).unlink(missing_ok=True)
    runs = []
    for manifest in sorted(settings.runs_folder.glob("run-*/set/manifest.jsonl")):
        if erasure.annotations.intersection(_SOURCE.findall(manifest.read_text())):
            _forget_pictures(manifest.parents[1])
            runs.append(manifest.parents[1].name)
    return ErasedHere(erasure, tuple(runs))


def _forget_pictures(run: Path) -> None:
    for folder in (*run.glob("*/pictures"), run / "set"):  # the manifest last: cut short, it is found again
        shutil.rmtree(folder)
    (run / "report.html").unlink(missing_ok=True)
