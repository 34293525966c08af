"""What Label Studio holds of a task and version when a prediction is to be sent: the same, or what it replaces."""

import logging
from dataclasses import dataclass, field
from typing import Any

from labeling.errors import LabelStudioError
from labeling.label_studio.client import LabelStudioClient
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.prompts.task_values import task_value
from labeling.store import PredictionRequest, Store
from worker.publishing.drafts import find_untouched

logger = logging.getLogger(__name__)

_NOT_ALLOWED = 403
_GONE = 404


@dataclass(frozen=True)
class Earlier:
    """`number`: Label Studio's, of the prediction that stands for the task; None: it is to be sent.

    `outdated`: of our earlier ones that it replaces, each with our row: the task's prompt or image was changed.
    `must_stay`: one of ours stands for the task that may not be replaced.
    """

    number: int | None
    outdated: dict[int, int] = field(default_factory=dict)
    must_stay: bool = False


def look(store: Store, client: LabelStudioClient, ready: PredictionRequest, held: list[dict[str, Any]]) -> Earlier:
    """Compare what Label Studio holds of the task and version with what is ready, by the regions' ids.

    What is not ours stands for the task. What is ours is replaced if the task is now as it was when `ready` was
    requested, because a job may be late, and if nobody began to annotate it: a page that shows what was deleted cannot
    be submitted. LabelStudioError if the task cannot be read.
    """
    ours = _region_ids(ready.result)
    same = next((int(each["id"]) for each in held if _region_ids(each["result"]) == ours), None)
    others = [each for each in held if int(each["id"]) != same and _region_ids(each["result"]) != ours]
    rows = {int(each["id"]): row for each in others if (row := _row_of(store, ready, each)) is not None}
    foreign = next((int(each["id"]) for each in others if int(each["id"]) not in rows), None)
    if not rows or (same is None and foreign is not None):
        return Earlier(foreign if same is None else same)
    if not _may_be_replaced(client, ready):
        return Earlier(same, must_stay=same is None)
    return Earlier(same, rows)


def remove(store: Store, client: LabelStudioClient, ready: PredictionRequest, outdated: dict[int, int]) -> None:
    """Delete what `ready` replaces, once Label Studio holds that. LabelStudioError if it cannot be done just now; what
    we may not delete stays beside it: it was sent all the same.
    """
    for number, row in outdated.items():
        try:
            client.delete_prediction(number)
        except LabelStudioError as error:
            if not error.is_refusal and error.status != _NOT_ALLOWED:
                raise
            if error.status != _GONE:
                logger.warning("task %d keeps its masks from before a change too: %s", ready.task_id, error)
                continue
        if row != ready.id:
            store.predictions.mark_pruned(row)


def _region_ids(result: list[dict[str, Any]] | None) -> list[str]:
    return [str(region.get("id")) for region in result or []]


def _row_of(store: Store, ready: PredictionRequest, held: dict[str, Any]) -> int | None:
    """Our row of a prediction that Label Studio holds; of what answered an opened page it never reported the number."""
    sent = store.predictions.find_sent(ready.project, ready.task_id, int(held["id"]), or_newest=False)
    ids = _region_ids(held["result"])
    if sent is not None and _region_ids(store.predictions.get(sent).result) == ids:  # else it stands for ours only
        return sent
    region = store.predictions.find_region(ready.project, ready.task_id, ids[0]) if ids else None
    return None if region is None or region.interactive else region.prediction_id


def _may_be_replaced(client: LabelStudioClient, ready: PredictionRequest) -> bool:
    """Whether the task asks what `ready` answers, shows the same image, and holds neither annotation nor draft."""
    found = find_untouched(client, ready.project.project_id, ready.task_id)
    if found is None:
        return False
    config, data = parse_label_config(ready.project.label_config), found["data"]
    same_image = task_value(data, config.image_key) == task_value(ready.task_data, config.image_key)
    return bool(same_image and plan_prompts(config, data).digest() == ready.plan.digest())
