"""The training set of a run: a manifest that was given, or one that is made of corrections and, for starters, of base
data."""

import logging
from pathlib import Path

from argenseg_model.manifest import Manifest
from labeling.datasets.build import DataSetOptions, build_data_set
from labeling.datasets.images import ImageKeeper
from labeling.store.model_records import FinetuneRun
from labeling.versions import weights_name
from worker.errors import WorkerError
from worker.finetune.base_data import add_base_data
from worker.jobs import JobContext

logger = logging.getLogger(__name__)

_WITH_BASE_DATA = "with-base-data.jsonl"


def build_manifest(context: JobContext, run: FinetuneRun, folder: Path) -> Path:
    """The manifest's file. It never changes once it is there: a run that goes on learns from the same.

    WorkerError if there is nothing to learn from yet; ManifestError for a given one that cannot be used.
    """
    path = folder / "set" / _WITH_BASE_DATA if run.manifest is None else Path(run.manifest)
    if run.manifest is None and not path.is_file():
        keeper = ImageKeeper(context.store, context.client, context.settings)
        options = DataSetOptions(project_id=None if run.project is None else run.project.project_id)
        made = build_data_set(context.store, keeper, path.parent, options)
        is_starter = weights_name(run.base or context.settings.model)[0].startswith("starter")
        add_base_data(made.manifest, path.name, is_starter=is_starter)
        for reason, count in sorted(made.left_out.items()):
            logger.info("run %d: %d left out: %s", run.id, count, reason)
    items = Manifest.read(path).split("train").items
    if all(item.is_replay for item in items):
        raise WorkerError(
            "There is nothing to learn from yet: no corrected image is in the training set. Correct more."
        )
    return path
