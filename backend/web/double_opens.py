"""Two pages that open a task at once: Label Studio stores each answer, so that the task holds its prediction twice.

The second answer is left empty only where that hides nothing. After an empty answer Label Studio reads the task again
and finds the first one's prediction, but only on the way that pinned projects take; in the label stream of a live
project (`model_version` is the backend's title) it shows what it was answered, and no more. There both pages are
answered, and `argenseg versions prune` removes the copy later: while a page holds its number, that page could not be
submitted any more.
"""

import logging
import time
from contextlib import closing

from labeling.settings import Settings
from labeling.store import PredictionRequest

logger = logging.getLogger(__name__)

JUST_NOW_S = 60.0  # longer than Label Studio takes to store an answer
LIMIT_S = 5.0
_STORED_S = 2.0
_TICK_S = 0.1


def is_shown_without(settings: Settings, sent: PredictionRequest) -> bool:
    """Whether a page shows this prediction, which answered another page a moment ago, if its own answer is empty.

    Asks Label Studio, and waits up to two seconds until it has stored it. LabelStudioError as that fails.
    """
    from labeling.label_studio.client import LabelStudioClient  # a second of imports that other requests do not need

    client = LabelStudioClient.from_settings(settings)
    if client is None:
        return False
    with closing(client):
        if client.get_project(sent.project.project_id).get("model_version") != sent.model_version:
            return False
        deadline = time.monotonic() + _STORED_S
        while not any(held["model_version"] == sent.model_version for held in client.list_predictions(sent.task_id)):
            if time.monotonic() > deadline:
                return False
            time.sleep(_TICK_S)
    logger.info("Task %d was opened twice at once; its prediction is stored once.", sent.task_id)
    return True
