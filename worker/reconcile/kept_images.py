"""Keeps the images of corrections: later Label Studio, or where it has them from, may have them no more."""

import logging
import random
import threading
import time

from argenseg_model.errors import ARGenSegError
from labeling.datasets.images import ImageKeeper
from labeling.errors import LabelingError
from worker.context import JobContext

logger = logging.getLogger(__name__)

KEEP_S = 120.0  # how long images are fetched for at a time


def keep_images(context: JobContext, stop: threading.Event, kept_before: set[str]) -> int:
    """Keep the images of submitted tasks that are not kept yet, and return how many; a while long, in any order.

    `kept_before`: digests of those that are known to be kept, which are not looked for again; what is found is added.
    """
    keeper, until, kept = ImageKeeper(context.store, context.client, context.settings), time.monotonic() + KEEP_S, 0
    for project in context.store.projects.of_address(context.settings.installation_url):
        images = [each for each in context.store.images.submitted(project) if each.sha256 not in kept_before]
        random.shuffle(images)  # some may never be had: they must not keep the others from being tried
        for image in images:
            if stop.is_set() or time.monotonic() > until:
                return kept
            try:
                if image.sha256 is not None and context.store.images.holds(image.sha256):
                    kept_before.add(image.sha256)
                    continue
                keeper.fetch(project, image)
            except (LabelingError, ARGenSegError, OSError) as error:
                logger.info("project %d: task %d: its image is not kept: %s", project.project_id, image.task_id, error)
            else:
                kept += 1
    return kept
