"""The tasks that wordings are tried on: those that somebody submitted."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from labeling.corrections.annotated_regions import AnnotatedRegion, read_regions
from labeling.errors import LabelingError
from labeling.label_studio.client import LabelStudioClient
from labeling.prompts.label_config import LabelConfig
from labeling.prompts.task_values import task_text


@dataclass(frozen=True)
class AnnotatedTask:
    """A task that somebody submitted. `regions` are those of the label; none: the label is absent from the image."""

    task_id: int
    data: dict[str, Any]
    regions: tuple[AnnotatedRegion, ...]

    def image_reference(self, config: LabelConfig) -> str:
        """What the task's data says of its image. LabelingError if that is nothing."""
        reference = task_text(self.data, config.image_key)
        if reference is None:
            raise LabelingError(f'its data has no text under "{config.image_key}"')
        return reference


def annotated_tasks(
    client: LabelStudioClient, project_id: int, config: LabelConfig, label: str | None, limit: int
) -> list[AnnotatedTask]:
    """The first `limit` tasks with a submitted annotation: of several the ground truth, else the newest."""
    return list(islice(_annotated_tasks(client, project_id, config, label), limit))


def _annotated_tasks(
    client: LabelStudioClient, project_id: int, config: LabelConfig, label: str | None
) -> Iterator[AnnotatedTask]:
    for task in client.list_tasks(project_id):
        found = read_task(client, task, config, label) if task.get("total_annotations") else None
        if found is not None:
            yield found


def read_task(
    client: LabelStudioClient, task: dict[str, Any], config: LabelConfig, label: str | None
) -> AnnotatedTask | None:
    """A task of Label Studio (`id`, `data`) with the label's regions as submitted; None if nobody submitted it."""
    submitted = [each for each in client.list_annotations(task["id"]) if not each.get("was_cancelled")]
    if not submitted:
        return None
    chosen = max(submitted, key=lambda each: (bool(each.get("ground_truth")), str(each.get("updated_at"))))
    found, unread = read_regions(chosen.get("result") or [], config.image.name, config.input_tags)
    regions = (region for region_id, region in found.items() if region_id not in unread)
    ours = tuple(each for each in regions if each.mask is not None and each.label == label)
    return AnnotatedTask(int(task["id"]), dict(task["data"]), ours)
