"""Keeps the images of corrections: later Label Studio, or where it has them from, may have them no more."""

import logging
import random
import threading
import time
from collections.abc import Iterator

from argenseg_model.errors import ARGenSegError
from labeling.datasets.images import ImageKeeper
from labeling.errors import LabelingError
from labeling.store import Project, Store, TaskImage
from worker.context import JobContext

logger = logging.getLogger(__name__)

KEEP_S = 120.0  # how long images are fetched for at a time
_IMAGES_AT_A_TIME = 200


def keep_images(context: JobContext, stop: threading.Event) -> int:
    """Keep the images of submitted tasks that are not kept yet, and return how many; a while long."""
    keeper, until, kept = ImageKeeper(context.store, context.client, context.settings), time.monotonic() + KEEP_S, 0
    for project in context.store.projects.of_address(context.settings.installation_url):
        for image in _to_keep(context.store, project):
            if stop.is_set() or time.monotonic() > until:
                return kept
            try:
                keeper.fetch(project, image)
            except (LabelingError, ARGenSegError, OSError) as error:
                logger.info("project %d: task %d: its image is not kept: %s", project.project_id, image.task_id, error)
            else:
                kept += 1
    return kept


def _to_keep(store: Store, project: Project) -> Iterator[TaskImage]:
    """From a random task on, and around: some may never be had, and must not keep others from being tried."""
    first = random.randint(0, store.images.newest_task(project))
    for after, until in ((first, None), (0, first)):
        while images := store.images.to_keep(project, after=after, until=until, limit=_IMAGES_AT_A_TIME):
            kept = [image for image in images if image.sha256 is not None and store.images.holds(image.sha256)]
            store.images.note_kept(project, kept)
            yield from (image for image in images if image not in kept)
            after = images[-1].task_id
