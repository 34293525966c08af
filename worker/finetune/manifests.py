"""The training set of a run: a manifest that was given, or one that is made of a project's corrections."""

from pathlib import Path

from argenseg_model.manifest import Manifest
from labeling.store.model_records import FinetuneRun
from worker.errors import WorkerError
from worker.jobs import JobContext


def build_manifest(context: JobContext, run: FinetuneRun, folder: Path) -> Path:
    """The manifest's file. It never changes once it is there: a run that goes on learns from the same.

    WorkerError if there is nothing to make it of; ManifestError for a given one that cannot be used.
    """
    if run.manifest is None:
        raise WorkerError("This run has no manifest. Give one: argenseg finetune --manifest FILE.")
    Manifest.read(run.manifest)
    return Path(run.manifest)
