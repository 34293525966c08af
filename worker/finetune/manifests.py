"""The training set of a run: a manifest that was given, or one that is made of corrections and, for starters, of base
data."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

from argenseg_model.manifest import Manifest
from labeling.datasets.build import DataSetOptions, build_data_set
from labeling.datasets.images import ImageKeeper
from labeling.store import FinetuneRun, Store
from labeling.versions import weights_name
from worker.context import JobContext
from worker.errors import WorkerError
from worker.finetune.base_data import add_base_data
from worker.finetune.learnt_from import LEFT_OUT

logger = logging.getLogger(__name__)

_WITH_BASE_DATA = "with-base-data.jsonl"


def build_manifest(context: JobContext, run: FinetuneRun, folder: Path, *, on_tick: Callable[[], None]) -> Path:
    """The manifest's file, which the store keeps too. It never changes once it is there: a run that goes on learns from
    the same.

    WorkerError if there is nothing to learn from yet; ManifestError for a given one that cannot be used; a transient
    error of an image that cannot be had just now. `on_tick` is called often; what it raises ends this.
    """
    path = folder / "set" / _WITH_BASE_DATA if run.manifest is None else Path(run.manifest)
    if run.manifest is None and not path.is_file():
        keeper = ImageKeeper(context.store, context.client, context.settings)
        options = _options(context, run)
        made = build_data_set(context.store, keeper, path.parent, options, on_tick=on_tick)
        (path.parent / LEFT_OUT).write_text(json.dumps(made.left_out) + "\n")
        is_starter = weights_name(run.base or context.settings.model)[0].startswith("starter")
        add_base_data(made.manifest, path.name, is_starter=is_starter)
        for reason, count in sorted(made.left_out.items()):
            logger.info("run %d: %d left out: %s", run.id, count, reason)
    whole = Manifest.read(path)
    _keep(context.store, run, whole, path)
    if all(item.is_replay for item in whole.split("train").items):
        raise WorkerError(
            "There is nothing to learn from yet: no corrected image is in the training set. Correct more."
        )
    return path


def _options(context: JobContext, run: FinetuneRun) -> DataSetOptions:
    """The run's own project, or all of our Label Studio: another one may have a project of the same number."""
    project = run.project
    if project is None:
        number, url = None, context.settings.label_studio_url
    else:
        number, url = project.project_id, project.label_studio_url
    return DataSetOptions(number, url, parent_digest=_last_digest(context.store, number, url))


def _last_digest(store: Store, project_number: int | None, url: str | None) -> str | None:
    """The newest data set that was made of a project's corrections, or of all; the oldest ones name no Label Studio."""
    for each in reversed(store.datasets.all()):
        made = each.lineage.get("options")
        if made and (made["project_id"], made.get("label_studio_url", url)) == (project_number, url):
            return each.digest
    return None


def _keep(store: Store, run: FinetuneRun, manifest: Manifest, path: Path) -> None:
    """What the run really learns from and is judged by, with the digest of its holdout that the report names."""
    made = path.with_name("manifest.jsonl")
    parent = Manifest.read(made).digest() if run.manifest is None and made.is_file() else None
    lineage = {
        "run": run.id,
        "holdout": manifest.split("holdout").digest(),
        "annotations": sorted({item.source.partition(":")[2] for item in manifest.items if not item.is_replay}),
        "items": len(manifest.items),
    }
    store.datasets.save(manifest.digest(), path, parent, lineage)
