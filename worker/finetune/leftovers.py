"""What a run needs only until it has ended: its copies of images, and the pictures that its report holds too."""

import shutil
from pathlib import Path

from labeling.errors import StoreError
from labeling.settings import Settings
from labeling.store import Store


def remove_leftovers(settings: Settings, store: Store) -> None:
    """Remove them from every run that has ended, also one that was stopped while nobody drove it.

    Manifest, model and report stay, and the store has the images: `argenseg corrections export` makes the set again.
    """
    for folder in sorted(settings.runs_folder.glob("run-*")):
        copies = [each for each in (*folder.glob("set/*"), *folder.glob("*/pictures")) if each.is_dir()]
        if copies and _has_ended(store, folder) and not _is_learnt_from(store, folder):
            for each in copies:
                shutil.rmtree(each, ignore_errors=True)  # what stays is tried again after the next run


def _is_learnt_from(store: Store, folder: Path) -> bool:
    """Whether an open run was given the manifest in it."""
    try:
        given = [run.manifest for run in store.finetunes.newest() if run.ended_at is None and run.manifest is not None]
    except StoreError:
        return True
    return any(Path(manifest).resolve().is_relative_to(folder.resolve()) for manifest in given)


def _has_ended(store: Store, folder: Path) -> bool:
    number = folder.name.rpartition("-")[2]
    try:
        return number.isdecimal() and store.finetunes.get(int(number)).ended_at is not None
    except StoreError:
        return False
